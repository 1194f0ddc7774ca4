/** Records the latest question as it was sent, for the inspector. */

import { BASE_URL } from "./api.js";
import { faultyFetch } from "./inspector/faults.js";
import { SIMULATE, STREAM } from "./paths.js";
import { store } from "./store.js";

/** Passes a request on, and keeps the latest question as it was sent, with the id of its run once that is known. */
export async function recordingFetch(input, init = {}) {
  const path = new URL(input, document.baseURI).href.slice(BASE_URL.length);
  if (init.method !== "POST" || ![STREAM, SIMULATE].includes(path)) return faultyFetch(input, init);
  const headers = Object.fromEntries(new Headers(init.headers));
  const sent = { path, headers, body: JSON.parse(init.body), runId: null };
  store.set({ lastRequest: sent });
  const response = await faultyFetch(input, init);
  const runId = response.headers.get("X-Run-ID");
  store.set(({ lastRequest }) => ({ lastRequest: lastRequest === sent ? { ...sent, runId } : lastRequest }));
  return response;
}
