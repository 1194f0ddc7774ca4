/** The service's routes that more than one part of the page names. */

export const STREAM = "/api/agent/stream";
export const SIMULATE = "/api/agent/stream/simulate";

export const runPath = (id) => `/api/agent/runs/${encodeURIComponent(id)}`;
export const sessionPath = (id) => `/api/agent/sessions/${encodeURIComponent(id)}`;
