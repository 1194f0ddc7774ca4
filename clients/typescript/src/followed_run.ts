import type { AgentRequest, SimulateRequest } from "./contract";
import { newKey } from "./environment";
import type { OnEvent } from "./options";
import type { RunReader } from "./run_reader";

interface AboutRun {
  id?: string;
  key?: string | undefined;
  asked?: AgentRequest | SimulateRequest | null;
  route?: string;
  isOurs: boolean;
  takesOver?: boolean;
  isStopped?: boolean;
  isInDoubt?: boolean;
  onEvent?: OnEvent | undefined;
}

/** A run that is followed here. */
export class FollowedRun {
  id: string | null;
  readonly key: string;
  /** The request that starts the run; null for a run that has already started. */
  readonly asked: AgentRequest | SimulateRequest | null;
  /** Where it is sent. */
  readonly route: string;
  /** Whether this page makes the calls of its tools. */
  isOurs: boolean;
  /** Whether it does so in place of a page that may still be there. */
  takesOver: boolean;
  /** Whether no other page makes them, although it takes the run for its own as well. */
  isGranted: Promise<boolean> = Promise.resolve(true);
  readonly onEvent: OnEvent | undefined;
  /** The JSON of the arguments of its calls, by their id. */
  readonly calls: Map<string, string> = new Map();
  lastSeq = 0;
  /** Whether there has been a connection to its events. */
  wasConnected = false;
  /** Whether `complete` was read, the run was stopped, or the service no longer has it. */
  isOver = false;
  /** Whether it was stopped here. The service has to be asked to cancel it until it has confirmed that. */
  isStopped: boolean;
  /** Whether there may be a run, although its id is unknown: a request that asks it had no response. */
  isInDoubt: boolean;
  /** Whether the service has lost or deleted it. */
  isGone = false;
  /** The reader that reads it, or the last one that did. */
  reader: RunReader | null = null;

  constructor(about: AboutRun) {
    this.id = about.id ?? null;
    this.key = about.key ?? newKey();
    this.asked = about.asked ?? null;
    this.route = about.route ?? "";
    this.isOurs = about.isOurs;
    this.takesOver = about.takesOver ?? false;
    this.isStopped = about.isStopped ?? false;
    this.isInDoubt = about.isInDoubt ?? false;
    this.onEvent = about.onEvent;
  }

  /** Whether it is a question that may not have reached the service. */
  get isUnsent(): boolean {
    return this.id === null && this.asked !== null && !this.isOver;
  }

  get path(): string {
    return `/api/agent/runs/${encodeURIComponent(this.id ?? "")}`;
  }
}
