import type { AgentRequest } from "./contract";
import { newKey } from "./environment";
import type { OnEvent } from "./options";
import type { RunReader } from "./run_reader";

/** A run that a conversation follows. */
export class FollowedRun {
  id: string | null;
  readonly key: string = newKey();
  /** The request that starts the run; null for a run that has already started. */
  readonly asked: AgentRequest | null;
  /** Where it is sent. */
  readonly route: string;
  /** Whether this page makes the calls of its tools. */
  readonly isOurs: boolean;
  readonly onEvent: OnEvent | undefined;
  /** The arguments of its calls, by their id. */
  readonly calls: Map<string, Record<string, unknown>> = new Map();
  lastSeq = 0;
  /** Whether there has been a connection to its events. */
  wasConnected = false;
  /** Whether `complete` was read, the run was stopped, or the service no longer has it. */
  isOver = false;
  /** Whether the service has lost or deleted it. */
  isGone = false;
  /** The reader that reads it, or the last one that did. */
  reader: RunReader | null = null;

  constructor(about: { id?: string; asked?: AgentRequest; route?: string; isOurs: boolean; onEvent?: OnEvent | undefined }) {
    this.id = about.id ?? null;
    this.asked = about.asked ?? null;
    this.route = about.route ?? "";
    this.isOurs = about.isOurs;
    this.onEvent = about.onEvent;
  }

  get path(): string {
    return `/api/agent/runs/${encodeURIComponent(this.id ?? "")}`;
  }
}
