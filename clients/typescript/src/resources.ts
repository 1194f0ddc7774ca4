/* The runs and sessions that the service stores. */

import type { Api } from "./api";
import type * as contract from "./contract";
import type { AgentRequest, RunList, RunRecord, Session, StreamEvent } from "./contract";
import { newKey } from "./environment";
import { eventsIn } from "./frames";

/** A part of a list. `cursor` is the `next_cursor` of the part before. */
export type Page = { limit?: number | undefined; cursor?: string | undefined };
/** `q` has words that the titles of sessions contain. */
export type SessionsQuery = Page & { q?: string | undefined };
export type RunsQuery = Page & { session_id?: string | undefined; status?: contract.RunStatus | undefined };
export type MessagesQuery = Page & { run_id?: string | undefined; tree?: boolean | undefined };

const RUNS = "/api/agent/runs";
const SESSIONS = "/api/agent/sessions";

export const runPath = (id: string): string => `${RUNS}/${encodeURIComponent(id)}`;
/** Cancels a run. Resolves when the service has accepted that. */
export const cancelRun = (api: Api, id: string): Promise<RunRecord> => api.json("POST", `${runPath(id)}/cancel`);
const sessionPath = (id: string): string => `${SESSIONS}/${encodeURIComponent(id)}`;

export const asRequest = (input: string | AgentRequest): AgentRequest =>
  typeof input === "string" ? { input } : input;

export class RunsResource {
  private readonly api: Api;

  constructor(api: Api) {
    this.api = api;
  }

  /** Resolves with runs, the latest first. */
  list(query: RunsQuery = {}): Promise<RunList> {
    return this.api.json("GET", RUNS, { query });
  }

  get(id: string): Promise<RunRecord> {
    return this.api.json("GET", runPath(id));
  }

  /** Resolves with the events after `after` that exist now. */
  async events(id: string, { after = 0 }: { after?: number | undefined } = {}): Promise<StreamEvent[]> {
    const response = await this.api.send("GET", `${runPath(id)}/events`, { query: { wait: false, after } });
    return eventsIn(await response.text());
  }

  /** Starts a run in the background. It needs no reader. */
  start(input: string | AgentRequest, options: { idempotencyKey?: string | undefined } = {}): Promise<RunRecord> {
    const headers = { "Idempotency-Key": options.idempotencyKey ?? newKey() };
    return this.api.json("POST", RUNS, { body: asRequest(input), headers });
  }

  delete(id: string): Promise<null> {
    return this.api.json("DELETE", runPath(id));
  }
}

export class SessionsResource {
  private readonly api: Api;

  constructor(api: Api) {
    this.api = api;
  }

  /** Resolves with sessions, the latest first. A page of a search can have fewer than `limit`. */
  list(query: SessionsQuery = {}): Promise<contract.SessionList> {
    return this.api.json("GET", SESSIONS, { query });
  }

  get(id: string): Promise<Session> {
    return this.api.json("GET", sessionPath(id));
  }

  create(body: contract.SessionCreate = {}): Promise<Session> {
    return this.api.json("POST", SESSIONS, { body, isOnce: body.session_id === undefined });
  }

  update(id: string, body: contract.SessionUpdate): Promise<Session> {
    return this.api.json("PATCH", sessionPath(id), { body });
  }

  delete(id: string): Promise<null> {
    return this.api.json("DELETE", sessionPath(id));
  }

  /** Resolves with messages: of the branch that ends with `run_id`, of the latest branch, or with `tree` of all. */
  messages(id: string, query: MessagesQuery = {}): Promise<contract.MessageList> {
    return this.api.json("GET", `${sessionPath(id)}/messages`, { query, hasCalls: true });
  }

  runs(id: string, query: RunsQuery = {}): Promise<RunList> {
    return this.api.json("GET", `${sessionPath(id)}/runs`, { query });
  }
}
