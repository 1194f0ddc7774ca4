import { jsonOf, parse } from "./exact_json";
import { refusal, RunFailed, unreachable } from "./failures";
import { JSON_BODY, merged, type Service } from "./service";
import { pause, QUESTION_RETRIES, retryDelay } from "./timing";

export interface ApiCall {
  /** Parameters of the query. Those that are undefined are left out. */
  query?: Record<string, string | number | boolean | undefined>;
  /** A value, or its JSON. */
  body?: object | string;
  headers?: HeadersInit;
  signal?: AbortSignal | undefined;
  /** Whether the response takes as long as a run. */
  isLong?: boolean;
  /** Whether the response has tool calls, whose arguments need their text. */
  hasCalls?: boolean;
  /** Whether sending the request twice has another effect than sending it once. */
  isOnce?: boolean;
}

/** Makes requests that have one response, and repeats those that may succeed later. */
export class Api {
  private readonly service: Service;

  constructor(service: Service) {
    this.service = service;
  }

  /** Resolves with the JSON of the response, or with null if it has none. Rejects as `send` does. */
  async json<T>(method: string, path: string, call: ApiCall = {}): Promise<T> {
    const response = await this.send(method, path, call);
    if (call.hasCalls) return parse<T>(await response.text());
    return (response.status === 204 ? null : await response.json()) as T;
  }

  /** Resolves with a response that reports success. Rejects with a RunFailed, or with the reason of the signal. */
  async send(method: string, path: string, call: ApiCall = {}): Promise<Response> {
    const { maxRetries = QUESTION_RETRIES } = this.service.options;
    const signal = call.signal ?? new AbortController().signal;
    for (let failures = 0; ; failures += 1) {
      signal.throwIfAborted();
      const response = await this.attempt(method, path, call).catch((cause: unknown) => cause);
      signal.throwIfAborted();
      if (response instanceof Response && response.ok) return response;
      const failure = await this.failure(response);
      if (failure.isFinal || call.isOnce || failures >= maxRetries) throw failure;
      await pause((failure.error.retry_after ?? 0) * 1000 + retryDelay(failures), signal);
    }
  }

  private attempt(method: string, path: string, { query = {}, body, signal, ...call }: ApiCall): Promise<Response> {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    const headers = merged({ Accept: "application/json" }, call.headers, body ? JSON_BODY : {});
    return this.service.request(search.size > 0 ? `${path}?${search}` : path, {
      method,
      headers,
      ...(body && { body: jsonOf(body) }),
      ...(signal && { signal }),
      isLong: call.isLong ?? false,
    });
  }

  private async failure(response: unknown): Promise<RunFailed> {
    if (response instanceof RunFailed) return response;
    return response instanceof Response ? refusal(response, true) : unreachable(this.service.url);
  }
}
