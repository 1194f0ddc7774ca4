import type { Complete } from "./contract";
import { isHidden } from "./environment";
import { type AgentError, incomplete, RunFailed, unreachable } from "./failures";
import type { FollowedRun } from "./followed_run";
import { type EventStream, EventReader, type Frame } from "./frames";
import { RunRequests } from "./run_requests";
import type { Call, Service } from "./service";
import type { Slot } from "./slots";
import { isWaiting, type RunState } from "./state";
import { HIDDEN_POLL_MS, LONGEST_TIMER_MS, pause, POLL_MS, QUESTION_RETRIES, rest, retryDelay, YIELD_MS } from "./timing";

/** The part of a page, or of a program, that a RunReader uses. */
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

/** The stream in the response to an answer, with its slot if it has one. */
interface Resumed {
  stream: EventStream;
  slot: Slot | null;
}

/**
 * Reads a run to its end, over as many connections as necessary: without one while the run waits, and by polling while
 * other pages hold the streams.
 */
export class RunReader {
  /** Closes the connection for a while, because another tab needs one. */
  giveWay = (): void => {};
  private readonly service: Service;
  private readonly run: FollowedRun;
  private readonly page: RunPage;
  private readonly requests: RunRequests;
  private readonly leaving = new AbortController();
  /** Connections in a row that brought nothing new. */
  private failures = 0;
  /** How long the service asks the client to wait before it reconnects. */
  private awayMs = 0;
  /** Until then, this tab leaves the streams to others. */
  private yieldsUntil = 0;
  private isResting = false;
  private resumed: Resumed | null = null;
  /** Whether this page has closed the latest stream before its end. */
  private hasClosed = false;
  /**
   * The slot of a stream that this page has closed. It is released after the next response: before that, the browser may
   * still hold the connection, and another tab would open a stream too many.
   */
  private closing: Slot | null = null;
  private isWoken = false;
  private endRest = (): void => {};

  constructor(service: Service, run: FollowedRun, page: RunPage) {
    this.service = service;
    this.run = run;
    this.page = page;
    this.requests = new RunRequests(service, run, page.learn);
  }

  get signal(): AbortSignal {
    return this.leaving.signal;
  }

  /** Resolves once there is a response to the question, whatever it is. Then the run's id is known, if it has one. */
  async answered(): Promise<void> {
    await this.requests.opening.catch(() => null);
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

  /** Takes a slot for the stream in the response to an answer. Resolves with null if none is free, or none is needed. */
  async slotForAnswer(): Promise<Slot | null> {
    return this.isResting && !this.resumed ? this.takeSlot() : null;
  }

  /** Accepts the stream in the response to an answer. One is enough. */
  resume(resumed: Resumed): void {
    if (resumed.slot && this.isResting && !this.resumed) this.resumed = resumed;
    else void discard(resumed);
  }

  /** Resolves with the data of `complete`, or with null if the page has left the run. Throws a RunFailed. */
  async read(): Promise<Complete | null> {
    let complete: Complete | null = null;
    try {
      while (!complete && this.page.isCurrent() && !this.signal.aborted) {
        const resumed = this.page.isWaiting() ? await this.untilResumed() : null;
        const slot = resumed?.slot ?? (await this.takeSlot());
        complete = slot ? await this.stream(slot, resumed?.stream) : await this.poll();
      }
      return complete;
    } finally {
      this.handOver();
      if (this.resumed) void discard(this.resumed);
    }
  }

  private async takeSlot(): Promise<Slot | null> {
    return Date.now() < this.yieldsUntil ? null : this.service.slots.take();
  }

  private handOver(): void {
    this.closing?.release();
    this.closing = null;
  }

  /** Reads one connection. Returns `complete`, or null when another connection is needed or the run waits. */
  private async stream(slot: Slot, resumed: EventStream | undefined): Promise<Complete | null> {
    try {
      const stream = resumed ?? (await this.connect());
      if (!stream) return await this.persist((call) => this.requests.end(call));
      if (!this.signal.aborted) return await this.readStream(stream);
      void stream.body.cancel();
      return null;
    } finally {
      if (this.hasClosed) this.closing = slot;
      else slot.release();
    }
  }

  /** Reads the events so far, because all streams are taken, and waits for the next look. */
  private async poll(): Promise<Complete | null> {
    if (this.run.id === null) await this.persist((call) => this.requests.begin(call));
    const frames = await this.persist((call) => this.requests.poll(call));
    this.handOver();
    if (!frames) return null;
    this.heard(frames);
    this.page.change(connected);
    const complete = this.page.take(frames);
    if (complete || this.page.isWaiting() || !this.page.isCurrent()) return complete;
    this.service.slots.ask();
    await this.rest(isHidden() ? HIDDEN_POLL_MS : POLL_MS);
    return null;
  }

  /** Resolves with the error of a run that has failed, or with null if the page has left the run. Throws a RunFailed. */
  error(): Promise<AgentError | null> {
    return this.persist((call) => this.requests.error(call));
  }

  /** Opens a stream of the events after the last one read. Resolves with null if there are none, or after `leave`. */
  private connect(): Promise<EventStream | null> {
    return this.persist((call) => this.requests.open(call));
  }

  /** Makes a request, and tries again until it succeeds or another try is useless. Resolves with null after `leave`. */
  private async persist<T>(request: (call: Call) => Promise<T>): Promise<T | null> {
    const { error } = unreachable(this.service.url);
    const onSlow = () => this.page.change((state) => ({ ...state, error }));
    while (!this.signal.aborted) {
      if (this.awayMs > 0) await pause(this.awayMs, this.signal);
      if (this.failures > 0) await this.rest(retryDelay(this.failures - 1));
      if (this.signal.aborted || !this.page.isCurrent()) break;
      try {
        return await request({ signal: this.signal, onSlow });
      } catch (cause) {
        if (this.signal.aborted) break;
        if (!(cause instanceof RunFailed) || cause.isFinal) throw cause;
        this.awayMs = this.requests.retryAfterMs;
        this.countFailure(cause);
        this.page.change((state) => ({ ...state, error: cause.error }));
      }
    }
    return null;
  }

  private countFailure(failure: RunFailed): void {
    const { storageKey, maxRetries = this.run.id || storageKey ? Infinity : QUESTION_RETRIES } = this.service.options;
    if (this.failures >= maxRetries) throw failure;
    this.failures += 1;
    const status = this.run.wasConnected ? "reconnecting" : "connecting";
    this.page.change((state) => ({ ...state, status }));
  }

  private async readStream({ body }: EventStream): Promise<Complete | null> {
    this.heard([]);
    this.page.change(connected);
    const reader = new EventReader(body, this.run.lastSeq, this.service.silenceMs, this.signal);
    this.hasClosed = false;
    this.giveWay = () => {
      this.hasClosed = true;
      reader.close();
    };
    for await (const { frames, retryMs } of reader.batches()) {
      this.awayMs = retryMs || this.awayMs;
      if (frames.length === 0) continue; // a heartbeat
      this.failures = 0;
      const complete = this.page.take(frames);
      if (complete) return complete;
      this.hasClosed = this.page.isWaiting() || !this.page.isCurrent();
      if (this.hasClosed) return null;
    }
    if (this.hasClosed) this.yieldsUntil = Date.now() + YIELD_MS;
    else if (this.page.isCurrent() && !this.signal.aborted) this.countFailure(incomplete());
    return null;
  }

  /** Notes that the service has responded, with these frames. */
  private heard(frames: Frame[]): void {
    this.run.wasConnected = true;
    this.awayMs = 0;
    if (frames.length > 0) this.failures = 0;
  }

  /**
   * Waits without a connection until the run has resumed, because a browser has six connections for all tabs. Resolves with
   * the stream in the response to an answer of this page, or with null if the answer came from elsewhere.
   */
  private async untilResumed(): Promise<Resumed | null> {
    this.isResting = true;
    try {
      const hasResumed = await this.hasResumed();
      this.handOver();
      if (!hasResumed) {
        this.page.makeCalls();
        await this.untilLooked();
      }
    } finally {
      this.isResting = false;
    }
    const { resumed } = this;
    this.resumed = null;
    return resumed;
  }

  /** Checks from time to time, while the page is visible, for an answer from elsewhere. */
  private async untilLooked(): Promise<void> {
    for (let looks = 0; ; looks += 1) {
      if (await this.rest(isHidden() ? LONGEST_TIMER_MS : retryDelay(looks))) looks = -1;
      if (this.resumed || this.signal.aborted || (await this.hasResumed())) return;
    }
  }

  private hasResumed(): Promise<boolean> {
    return this.requests.hasMore({ signal: this.signal });
  }

  private async rest(ms: number): Promise<boolean> {
    const wasWoken = this.isWoken || (await rest(ms, this.signal, (end) => (this.endRest = end)));
    this.isWoken = false;
    return wasWoken;
  }
}

async function discard({ stream, slot }: Resumed): Promise<void> {
  await stream.body.cancel();
  slot?.release();
}

function connected(state: RunState): RunState {
  const { error } = state;
  const isAboutQuestion = error?.code === "session_busy"; // the refusal of another question than this run's
  return { ...state, status: isWaiting(state) ? "waiting" : "streaming", error: isAboutQuestion ? error : null };
}
