import type { EventData, StreamEvent } from "./contract";
import type { Frame } from "./frames";

/** A tool that runs in the page. `parameters` is the JSON schema of its arguments, which are an object. */
export interface ClientTool {
  description?: string | undefined;
  parameters?: Record<string, unknown> | undefined;
  /**
   * Returns text or a JSON value. Whole numbers beyond 2^53 in `args` are bigints, so that none is rounded. An exception is reported to the model as the call's error. */
  run: (args: Record<string, unknown>) => unknown;
}

/** How requests reach the service. */
export interface ServiceOptions {
  /** The URL of the service; "" is the page's own origin. */
  baseUrl?: string | undefined;
  /** Headers for each request, such as Authorization, or a function that returns them. It may be asynchronous. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>) | undefined;
  /** The function that makes requests, in place of the global `fetch`. */
  fetch?: typeof fetch | undefined;
  /**
   * How often in a row to try again without receiving anything new. By default, a question is sent up to five more times, or
   * with `storageKey` until it has arrived, and a run that has started is followed for as long as the service keeps it.
   */
  maxRetries?: number | undefined;
  /** The service's HEARTBEAT_S, by default 4. A connection without a byte for 2.5 of them is replaced. */
  heartbeatS?: number | undefined;
}

export interface ConversationOptions extends ServiceOptions {
  /** The route that starts a run. A route of your own has to pass on the Idempotency-Key and the query. */
  path?: string | undefined;
  /**
   * The session of the conversation. A new id begins one. A run of it that is under way is followed, whichever page has
   * started it, when the page appears and when it becomes visible.
   */
  sessionId?: string | undefined;
  /**
   * The key in sessionStorage for the run under way, one for each session. With it, a reloaded page follows its run again and
   * replays it from the start, asks a question that has not arrived with the same Idempotency-Key, sends an answer that has not
   * arrived, and continues to cancel a run that was stopped.
   */
  storageKey?: string | undefined;
  /**
   * Tools that the page runs, by name. They are sent with each question that has no `client_tools` of its own. The page that
   * asked makes each of their calls once, also if it is reloaded meanwhile (with `storageKey`). Another page that follows
   * the run, such as a duplicated tab, shows them in `pending`.
   */
  clientTools?: Record<string, ClientTool> | undefined;
  /** The shortest time between two changes of the state, in milliseconds. By default 50: rendering costs more than reading. */
  renderMs?: number | undefined;
  /** Called once with each new event of any run, in order, before the state shows it. For inspectors. */
  onFrame?: ((frame: Frame) => void) | undefined;
}

export type OnEvent = (event: StreamEvent) => void;
export type OnRestart = (restart: EventData["step_restarted"]) => void;

/** A person's change of a call: it is made with these arguments instead. */
export interface Changes {
  /** A number that JavaScript may have rounded is refused (`invalid_arguments`). */
  arguments?: Record<string, unknown> | undefined;
  /** The JSON of an object, in place of `arguments`. It is sent as it is, digit for digit. */
  arguments_text?: string | undefined;
}
