import { isHidden } from "./environment";
import type { ConversationOptions } from "./options";
import { HEARTBEAT_S, PATIENCE_MS, SLOWEST_UPLOAD } from "./timing";

export interface Call extends RequestInit {
  signal?: AbortSignal;
  /** Called repeatedly while there is no response. */
  onSlow?: () => void;
}

/** Sends requests to the service. A visible tab without a response asks the other tabs for a connection. */
export class Service {
  options: ConversationOptions;
  private tabs: BroadcastChannel | null = null;

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
  async request(path: string, { signal, onSlow, ...init }: Call = {}): Promise<Response> {
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    const uploadMs = typeof init.body === "string" ? init.body.length / SLOWEST_UPLOAD : 0;
    const late = setTimeout(leave, this.silenceMs + uploadMs);
    const slow = setInterval(() => {
      onSlow?.();
      if (!isHidden()) this.tabs?.postMessage(this.url);
    }, PATIENCE_MS);
    signal?.addEventListener("abort", leave);
    if (signal?.aborted) leave();
    try {
      const { fetch = globalThis.fetch, headers: own } = this.options;
      const headers = new Headers(typeof own === "function" ? await own() : own);
      new Headers(init.headers).forEach((value, name) => headers.set(name, value));
      return await fetch(this.url + path, { ...init, headers, cache: "no-store", signal: leaving.signal });
    } finally {
      signal?.removeEventListener("abort", leave);
      clearTimeout(late);
      clearInterval(slow);
    }
  }

  post(path: string, body: object, { headers, ...call }: Call = {}): Promise<Response> {
    const json = new Headers(headers);
    json.set("Content-Type", "application/json");
    return this.request(path, { ...call, method: "POST", headers: json, body: JSON.stringify(body) });
  }

  /**
   * Calls `giveWay` when another tab needs a connection: in each hidden tab, and in about one of six visible ones.
   * Returns a function that stops this.
   */
  share(giveWay: () => void): () => void {
    if (!globalThis.document || !("BroadcastChannel" in globalThis)) return () => {};
    const tabs = new BroadcastChannel("agent-stream");
    tabs.onmessage = ({ data }) => {
      const isChosen = isHidden() || Math.random() < 1 / 6;
      if (data === this.url && isChosen) giveWay();
    };
    this.tabs = tabs;
    return () => {
      this.tabs = null;
      tabs.close();
    };
  }
}
