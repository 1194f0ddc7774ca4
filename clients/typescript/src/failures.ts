/* Errors, and where responses report them. */

import { firstData, isEvents } from "./frames";

/** An error. `code` is one of the service's, or of the client's: `network`, `incomplete`, `restarted`, `not_stopped`, `http_…`, `callback`. */
export interface AgentError {
  code: string;
  message: string;
  retryable: boolean;
  request_id?: string;
  retry_after?: number;
  /** The run that is in the way, if there is one (`session_busy`). */
  run_id?: string;
  details?: { loc: string; message: string }[];
}

/** A run failed, was refused, or can't be read to its end. */
export class RunFailed extends Error {
  override readonly name = "RunFailed";
  readonly error: AgentError;
  /** Whether another try is useless. */
  readonly isFinal: boolean;
  /** Whether the service no longer has the run. */
  readonly isGone: boolean;

  constructor(error: AgentError, { isFinal = false, isGone = false }: { isFinal?: boolean; isGone?: boolean } = {}) {
    super(error.message);
    this.error = error;
    this.isFinal = isFinal;
    this.isGone = isGone;
  }

  get code(): string {
    return this.error.code;
  }

  /** Whether the same request may succeed later. */
  get retryable(): boolean {
    return this.error.retryable;
  }
}

export function incomplete(): RunFailed {
  return new RunFailed({ code: "incomplete", message: "The rest of the answer could not be read.", retryable: true });
}

export function restarted(): RunFailed {
  const message = "The text so far no longer counts, because its model turn began again. `onRestart` handles this.";
  return new RunFailed({ code: "restarted", message, retryable: false });
}

export function unreachable(url: string): RunFailed {
  const message =
    `No response from ${url || globalThis.location?.origin}. Usual causes: the service does not run there or does not ` +
    "allow this page's origin (CORS_ORIGINS), or other tabs use all six connections that a browser opens to one address.";
  return new RunFailed({ code: "network", message, retryable: true });
}

/** Whether a request had no response of the service itself. The service may have received it. */
export function isOutage(cause: unknown): boolean {
  return cause instanceof RunFailed && (cause.code === "network" || isForeign(cause.error));
}

/** Whether an error is not the service's but that of something before it: a proxy, or a route that could not reach it. */
export function isForeign({ code }: AgentError): boolean {
  return code.startsWith("http_") || code === "service_unreachable";
}

/** Returns the failure with which a request to this URL was rejected: without a response, it is an outage. */
export function failureOf(cause: unknown, url: string): RunFailed {
  return cause instanceof RunFailed ? cause : unreachable(url);
}

/**
 * Returns the failure that a response reports in JSON, or in the first frame of a refused stream. Only the service itself
 * can report that a run is gone. An error page of a proxy is an outage, except as the response to a question.
 */
export async function refusal(response: Response, isQuestion = false): Promise<RunFailed> {
  const bytes = await response.arrayBuffer().catch(() => new ArrayBuffer(0));
  const { status } = response;
  const seconds = retryAfter(response) / 1000;
  const reported = errorIn(isEvents(response), new Uint8Array(bytes));
  const error = reported ?? {
    code: `http_${status}`,
    message: `The response (HTTP ${status}) is not a stream of events.`,
    retryable: status >= 500,
  };
  const mayPass = status === 429 || status >= 500;
  const isGone = reported !== null && (status === 404 || status === 410);
  const about = { isFinal: !mayPass && (reported !== null || isQuestion), isGone };
  return new RunFailed(seconds > 0 ? { ...error, retry_after: seconds } : error, about);
}

function errorIn(isEvents: boolean, bytes: Uint8Array): AgentError | null {
  try {
    const text = new TextDecoder().decode(bytes);
    const { error, data } = JSON.parse(isEvents ? firstData(text) : text) as { error?: AgentError; data?: AgentError };
    const failure = error ?? data;
    return typeof failure?.code === "string" ? failure : null;
  } catch {
    return null;
  }
}

/** Returns how long a response asks the client to wait, in milliseconds. */
export function retryAfter(response: Response): number {
  return Number(response.headers.get("Retry-After")) * 1000 || 0;
}

/** The text about an error for end users. */
export function explain({ code, message, details = [] }: AgentError): string {
  if (code === "session_busy") return "This conversation is still being answered. Wait for that answer, then ask again.";
  return details.length > 0 ? details.map((detail) => `${detail.message} (${detail.loc})`).join(" ") : message;
}
