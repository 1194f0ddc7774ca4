import type { Complete, RunRecord } from "./contract";
import { type AgentError, failureOf, incomplete, isForeign, isOutage, refusal, retryAfter, RunFailed } from "./failures";
import type { FollowedRun } from "./followed_run";
import { type EventStream, type Frame, framesIn, isStream } from "./frames";
import type { Call, Service } from "./service";

interface Asking extends Call {
  /** Whether the response is the run in place of a stream of its events. */
  isPolled?: boolean;
}

/** Sends the question of a run. However often that is done, it is one run, because the key stays the same. */
export function ask(service: Service, { route, asked, key }: FollowedRun, { isPolled, ...call }: Asking): Promise<Response> {
  const headers = { Accept: "application/json", "Idempotency-Key": key }; // refusals in JSON have details
  const wait = isPolled ? `${route.includes("?") ? "&" : "?"}wait=false` : "";
  return service.post(route + wait, asked ?? {}, { ...call, headers });
}

/** Returns the id of the run in the response to a question, and leaves its stream, which a route of your own may send anyway. */
export async function startedIn(response: Response): Promise<string | null> {
  const id = response.headers.get("X-Run-ID");
  if (isStream(response)) void response.body.cancel();
  else await response.arrayBuffer().catch(() => null); // so that the connection is free for the next request
  return id;
}

/** The requests about one run. Each rejects with a RunFailed. */
export class RunRequests {
  /** How long the service asked the client to wait before its next request, in milliseconds. */
  retryAfterMs = 0;
  /** The latest request for a stream or a run. After the first response, the run's id is known. */
  opening: Promise<unknown> = Promise.resolve();
  private readonly service: Service;
  private readonly run: FollowedRun;
  private readonly learn: (runId: string) => void;

  /** `learn` is called with the run's id. */
  constructor(service: Service, run: FollowedRun, learn: (runId: string) => void) {
    this.service = service;
    this.run = run;
    this.learn = learn;
  }

  /**
   * Starts the run, or opens a stream of the events after the last one read. Resolves with null if the run had ended there
   * before it was first read.
   */
  open(call: Call): Promise<EventStream | null> {
    const opening = this.run.id === null ? this.start(call) : this.attach(call);
    this.opening = opening;
    return opening;
  }

  /** Starts the run without a stream. */
  begin(call: Call): Promise<void> {
    const opening = this.startPolled(call);
    this.opening = opening;
    return opening;
  }

  /** Gets the events after the last one read that exist now. */
  poll(call: Call): Promise<Frame[]> {
    return this.framesAfter(this.run.lastSeq, call);
  }

  /** Gets the data of the last event of a run that has ended. */
  async end(call: Call): Promise<Complete> {
    const { last_seq } = await this.record(call);
    const event = (await this.framesAfter(last_seq - 1, call)).at(-1)?.event;
    if (event?.event !== "complete") throw new RunFailed(incomplete().error, { isFinal: true });
    return event.data;
  }

  /** Gets the error of a run that has failed. */
  async error(call: Call): Promise<AgentError> {
    return (await this.record(call)).error ?? incomplete().error;
  }

  private async record(call: Call): Promise<RunRecord> {
    const response = await this.answered(this.service.request(this.run.path, call));
    if (response.status !== 200) throw await this.failure(response, false);
    return (await this.answered(response.json())) as RunRecord;
  }

  private async framesAfter(seq: number, call: Call): Promise<Frame[]> {
    const path = `${this.run.path}/events?wait=false&after=${seq}`;
    const response = await this.answered(this.service.request(path, call));
    if (response.status !== 200) throw await this.failure(response, false);
    return framesIn(await this.answered(response.text()));
  }

  /** Whether the run has events after the last one read. Resolves with false if the run can't be read for now. Rejects if it is useless to try again. */
  async hasMore(call: Call): Promise<boolean> {
    const response = await this.service.request(this.run.path, call).catch(() => null);
    if (response?.ok) {
      const run = (await response.json().catch(() => null)) as { last_seq: number } | null;
      return run !== null && run.last_seq > this.run.lastSeq;
    }
    const failure = response && (await refusal(response));
    if (failure?.isFinal) throw failure;
    return false;
  }

  private async start(call: Call): Promise<EventStream> {
    const response = await this.accepted(call, isStream);
    const id = response.headers.get("X-Run-ID");
    if (id) this.learn(id);
    return response;
  }

  private async startPolled(call: Call): Promise<void> {
    const hasRun = (response: Response): response is Response => response.status === 202 || isStream(response);
    const id = await startedIn(await this.accepted({ ...call, isPolled: true }, hasRun));
    if (id) this.learn(id);
  }

  /** Asks the question, and resolves with a response that shows that it was accepted. */
  private async accepted<R extends Response>(call: Asking, isAccepted: (response: Response) => response is R): Promise<R> {
    try {
      const response = await this.answered(ask(this.service, this.run, call));
      if (isAccepted(response)) return response;
      throw await this.failure(response, true);
    } catch (cause) {
      if (isOutage(cause)) this.run.isInDoubt = true;
      throw cause;
    }
  }

  private async attach(call: Call): Promise<EventStream | null> {
    const headers = { Accept: "text/event-stream", "Last-Event-ID": String(this.run.lastSeq) };
    const response = await this.answered(this.service.request(`${this.run.path}/events`, { ...call, headers }));
    if (isStream(response)) return response;
    if (response.status === 204 && !this.run.wasConnected) return null;
    throw await this.failure(response, false);
  }

  private answered<T>(request: Promise<T>): Promise<T> {
    return request.catch((cause: unknown) => {
      throw failureOf(cause, this.service.url);
    });
  }

  private async failure(response: Response, isQuestion: boolean): Promise<RunFailed> {
    this.retryAfterMs = retryAfter(response);
    if (response.status === 204) return new RunFailed(incomplete().error, { isFinal: true });
    const refused = await refusal(response, isQuestion);
    // An error of the service itself is final for a question, unless it says when to try again.
    const isAnswer = isQuestion && this.retryAfterMs === 0 && !isForeign(refused.error);
    return isAnswer ? new RunFailed(refused.error, { isFinal: true }) : refused;
  }
}
