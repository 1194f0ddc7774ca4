import { jsonOf } from "./exact_json";
import { RunFailed } from "./failures";
import type { ConversationOptions } from "./options";
import { Slots } from "./slots";
import { HEARTBEAT_S, PATIENCE_MS, SLOWEST_UPLOAD } from "./timing";

export interface Call extends RequestInit {
  signal?: AbortSignal;
  /** Called repeatedly while there is no response. */
  onSlow?: () => void;
  /** Whether the response may take longer than a heartbeat. */
  isLong?: boolean;
}

/** The header of a request whose body is JSON. */
export const JSON_BODY = { "Content-Type": "application/json" };

/** Sends requests to the service. */
export class Service {
  options: ConversationOptions;
  readonly slots: Slots = new Slots(() => this.url);

  constructor(options: ConversationOptions) {
    this.options = options;
  }

  get url(): string {
    return (this.options.baseUrl ?? "http://127.0.0.1:8000").replace(/\/+$/, "");
  }

  get silenceMs(): number {
    return (this.options.heartbeatS ?? HEARTBEAT_S) * 2500;
  }

  /**
   * Resolves with the response once its head has arrived. Rejects if the signal aborts before that, or after `silenceMs`
   * and the time that a slow line needs for the body.
   */
  async request(path: string, { signal, onSlow, isLong = false, ...init }: Call = {}): Promise<Response> {
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    const uploadMs = typeof init.body === "string" ? init.body.length / SLOWEST_UPLOAD : 0;
    const late = isLong ? undefined : setTimeout(leave, this.silenceMs + uploadMs);
    const slow = setInterval(() => {
      onSlow?.();
      this.slots.ask();
    }, PATIENCE_MS);
    signal?.addEventListener("abort", leave);
    if (signal?.aborted) leave();
    try {
      const { fetch = globalThis.fetch } = this.options;
      const headers = merged(await this.givenHeaders(), init.headers);
      return await fetch(this.url + path, { ...init, headers, cache: "no-store", signal: leaving.signal });
    } finally {
      signal?.removeEventListener("abort", leave);
      clearTimeout(late);
      clearInterval(slow);
    }
  }

  /** Posts a value, or its JSON. */
  post(path: string, body: object | string, { headers, ...call }: Call = {}): Promise<Response> {
    const json = merged(headers, JSON_BODY);
    return this.request(path, { ...call, method: "POST", headers: json, body: jsonOf(body) });
  }

  private async givenHeaders(): Promise<HeadersInit | undefined> {
    const { headers } = this.options;
    try {
      return typeof headers === "function" ? await headers() : headers;
    } catch (cause) {
      throw new RunFailed({ code: "callback", message: `\`headers\` has failed: ${String(cause)}`, retryable: true });
    }
  }
}

/** Returns headers of several sources as one. A later source takes precedence. */
export function merged(...sources: (HeadersInit | undefined)[]): Headers {
  const all = new Headers();
  for (const source of sources) new Headers(source).forEach((value, name) => all.set(name, value));
  return all;
}
