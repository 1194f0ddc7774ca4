import { AgentStream } from "agent-stream";

/** The service, behind this app's own route: /api/agent/… */
export const agent = new AgentStream({ baseUrl: "" });
