import type { Complete } from "./contract";
import { isHidden } from "./environment";
import { incomplete, refusal, retryAfter, RunFailed, unreachable } from "./failures";
import type { FollowedRun } from "./followed_run";
import { type EventStream, EventReader, type Frame, isStream } from "./frames";
import type { Call, Service } from "./service";
import type { RunState } from "./state";
import { LONGEST_TIMER_MS, pause, QUESTION_RETRIES, rest, retryDelay, YIELD_MS } from "./timing";

/** The part of the page that a RunReader uses. */
export interface RunPage {
  /** Whether the run is the one that the page shows. */
  isCurrent: () => boolean;
  /** Whether the run waits for answers. */
  isWaiting: () => boolean;
  change: (change: (state: RunState) => RunState) => void;
  /** Called with the run's id as soon as it is known. */
  learn: (runId: string) => void;
  /** Called with new events. Returns the data of `complete`. */
  take: (frames: Frame[]) => Complete | null;
  /** Makes the calls of the page's tools that the run waits for. */
  makeCalls: () => void;
}

/** Reads a run to its end, over as many connections as necessary, and without one while the run waits. */
export class RunReader {
  /** The latest request for a stream. After the first response, the run's id is known. */
  opening: Promise<unknown> = Promise.resolve();
  /** Closes the connection for a while, because another tab needs one. */
  giveWay = (): void => {};
  private readonly service: Service;
  private readonly run: FollowedRun;
  private readonly page: RunPage;
  private readonly leaving = new AbortController();
  /** Connections in a row that brought nothing new. */
  private failures = 0;
  /** How long the service asks the client to wait before it reconnects. */
  private awayMs = 0;
  private isResting = false;
  private resumed: EventStream | null = null;
  private isWoken = false;
  private endRest = (): void => {};

  constructor(service: Service, run: FollowedRun, page: RunPage) {
    this.service = service;
    this.run = run;
    this.page = page;
  }

  get signal(): AbortSignal {
    return this.leaving.signal;
  }

  /** Stops reading. The run itself continues. */
  leave(): void {
    this.leaving.abort();
  }

  /** Ends the current pause, or else the next one. */
  wake(): void {
    this.isWoken = true;
    this.endRest();
  }

  /** Accepts the stream in the response to an answer. One is enough. */
  resume(stream: EventStream): void {
    if (!this.isResting || this.resumed) void stream.body.cancel();
    else this.resumed = stream;
    this.wake();
  }

  /** Resolves with the data of `complete`, or with null if the page has left the run. Throws a RunFailed. */
  async read(): Promise<Complete | null> {
    let complete: Complete | null = null;
    while (!complete && this.page.isCurrent() && !this.signal.aborted) {
      const resumed = this.page.isWaiting() ? await this.untilResumed() : null;
      const stream = resumed ?? (await this.connect());
      if (this.signal.aborted) void stream?.body.cancel();
      else if (stream) complete = await this.readStream(stream);
    }
    return complete;
  }

  /** Opens a stream of the events after the last one read. Tries again until it succeeds or another try is useless. */
  private async connect(): Promise<EventStream | null> {
    while (!this.signal.aborted) {
      if (this.awayMs > 0) await pause(this.awayMs, this.signal);
      if (this.failures > 0) await this.rest(retryDelay(this.failures - 1));
      if (this.signal.aborted) break;
      try {
        return await this.open();
      } catch (cause) {
        if (this.signal.aborted) break;
        if (!(cause instanceof RunFailed) || cause.isFinal) throw cause;
        this.countFailure(cause);
        this.page.change((state) => ({ ...state, error: cause.error }));
      }
    }
    return null;
  }

  private async open(): Promise<EventStream> {
    const failure = unreachable(this.service.url);
    const onSlow = () => this.page.change((state) => ({ ...state, error: failure.error }));
    const call = { signal: this.signal, onSlow };
    const opening = this.run.id === null ? this.start(call) : this.attach(call);
    this.opening = opening;
    const response = await opening.catch(() => Promise.reject(failure));
    if (isStream(response)) return response;
    this.awayMs = retryAfter(response);
    if (response.status === 204) throw new RunFailed(incomplete().error, { isFinal: true });
    const isQuestion = this.run.id === null;
    const refused = await refusal(response, isQuestion);
    // An error of the service itself is final for a question, unless it says when to try again.
    const isAnswer = isQuestion && this.awayMs === 0 && !refused.error.code.startsWith("http_");
    throw isAnswer ? new RunFailed(refused.error, { isFinal: true }) : refused;
  }

  private async start(call: Call): Promise<Response> {
    const headers = { Accept: "application/json", "Idempotency-Key": this.run.key }; // refusals in JSON have details
    const response = await this.service.post(this.run.route, this.run.asked ?? {}, { ...call, headers });
    const id = response.headers.get("X-Run-ID");
    if (isStream(response) && id) this.page.learn(id);
    return response;
  }

  private attach(call: Call): Promise<Response> {
    const headers = { Accept: "text/event-stream", "Last-Event-ID": String(this.run.lastSeq) };
    return this.service.request(`${this.run.path}/events`, { ...call, headers });
  }

  private countFailure(failure: RunFailed): void {
    const { maxRetries = this.run.id ? Infinity : QUESTION_RETRIES } = this.service.options;
    if (this.failures >= maxRetries) throw failure;
    this.failures += 1;
    const status = this.run.wasConnected ? "reconnecting" : "connecting";
    this.page.change((state) => ({ ...state, status }));
  }

  /** Reads one connection. Returns `complete`, or null when another connection is needed or the run waits. */
  private async readStream({ body }: EventStream): Promise<Complete | null> {
    this.run.wasConnected = true;
    this.awayMs = 0;
    this.page.change(connected);
    const reader = new EventReader(body, this.run.lastSeq, this.service.silenceMs, this.signal);
    let gaveWay = false;
    this.giveWay = () => {
      gaveWay = true;
      reader.close();
    };
    for await (const { frames, retryMs } of reader.batches()) {
      this.awayMs = retryMs || this.awayMs;
      if (frames.length > 0) this.failures = 0;
      const complete = this.page.take(frames);
      if (complete || this.page.isWaiting() || !this.page.isCurrent()) return complete;
    }
    if (gaveWay) await this.rest(YIELD_MS);
    else if (this.page.isCurrent() && !this.signal.aborted) this.countFailure(incomplete());
    return null;
  }

  /**
   * Waits without a connection until the run has resumed, because a browser has six connections for all tabs. Resolves with
   * the stream in the response to an answer of this page, or with null if the answer came from elsewhere.
   */
  private async untilResumed(): Promise<EventStream | null> {
    this.isResting = true;
    if (!(await this.hasGoneOn())) {
      this.page.makeCalls();
      await this.untilLooked();
    }
    this.isResting = false;
    const stream = this.resumed;
    this.resumed = null;
    return stream;
  }

  /** Checks from time to time, while the page is visible, for an answer from elsewhere. */
  private async untilLooked(): Promise<void> {
    for (let looks = 0; ; looks += 1) {
      if (await this.rest(isHidden() ? LONGEST_TIMER_MS : retryDelay(looks))) looks = -1;
      if (this.resumed || this.signal.aborted || (await this.hasGoneOn())) return;
    }
  }

  /** Gets the run. If that fails, the next check tries again. */
  private async hasGoneOn(): Promise<boolean> {
    const look = this.service.request(this.run.path, { signal: this.signal });
    const response = await look.catch(() => null);
    if (response?.ok) {
      const run = (await response.json().catch(() => null)) as { last_seq: number } | null;
      return run !== null && run.last_seq > this.run.lastSeq;
    }
    const failure = response && (await refusal(response));
    if (failure?.isGone) throw failure;
    return false;
  }

  private async rest(ms: number): Promise<boolean> {
    const wasWoken = this.isWoken || (await rest(ms, this.signal, (end) => (this.endRest = end)));
    this.isWoken = false;
    return wasWoken;
  }
}

function connected(state: RunState): RunState {
  const error = state.error?.code === "network" ? null : state.error;
  return { ...state, status: state.pending.length > 0 ? "waiting" : "streaming", error };
}
