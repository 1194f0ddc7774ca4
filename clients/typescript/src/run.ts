import { Answers } from "./answers";
import { Api } from "./api";
import { ClientCalls, type Outcome } from "./client_calls";
import type { BudgetTotals, Complete, Json, PendingBudget, StreamEvent } from "./contract";
import { approval } from "./decisions";
import { type AgentError, restarted, RunFailed } from "./failures";
import { fold } from "./folding";
import type { FollowedRun } from "./followed_run";
import type { Frame } from "./frames";
import type { Changes, OnRestart } from "./options";
import { cancelRun } from "./resources";
import { RunReader } from "./run_reader";
import type { Service } from "./service";
import { IDLE, isWaiting, latestAnswer, type RunState } from "./state";

/**
 * A run of the agent. Iterate over it for its events, from the first, each once and in order. It is read from the moment
 * it is made, over as many connections as necessary, whether or not anybody iterates.
 *
 * The iteration ends after `complete`. It throws a RunFailed if the run failed or can't be read to its end.
 */
export class Run implements AsyncIterable<StreamEvent> {
  /** Resolves with the run's id as soon as it is known. */
  readonly started: Promise<string>;
  /** Resolves with the data of the last event. Rejects with a RunFailed if the run failed or can't be read to its end. */
  readonly complete: Promise<Complete>;
  private readonly service: Service;
  private readonly run: FollowedRun;
  private readonly reader: RunReader;
  private readonly answers: Answers;
  private readonly clientCalls: ClientCalls;
  private readonly events: StreamEvent[] = [];
  private state: RunState = IDLE;
  private isOver = false;
  private news = new News();
  private learn: (runId: string) => void = () => {};

  constructor(service: Service, run: FollowedRun, signal?: AbortSignal) {
    this.service = service;
    this.run = run;
    this.answers = new Answers(service);
    this.clientCalls = new ClientCalls(service, (_, callId, outcome) => this.send(callId, outcome));
    this.reader = run.reader = this.readerOf(run);
    this.complete = this.read(signal);
    const id = new Promise<string>((resolve) => (this.learn = resolve));
    if (run.id) this.learn(run.id);
    this.started = Promise.race([id, this.complete.then(() => run.id ?? "")]);
    for (const promise of [this.started, this.complete]) promise.catch(() => {}); // a program may use only one of them
  }

  /** The run's id, or null until it is known. */
  get id(): string | null {
    return this.run.id;
  }

  /** As much of the answer's value as has been written, and at the end the one that matches the `output_schema`. */
  get data(): unknown {
    return latestAnswer({ ...this.state, runId: this.id }).partial;
  }

  /** The budget, while the run waits for a larger one. */
  get budget(): PendingBudget | null {
    return this.state.budget;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined> {
    for (let place = 0; place < this.events.length || !this.isOver; ) {
      const event = this.events[place];
      if (event) yield event;
      else await this.news.next;
      if (event) place += 1;
    }
    await this.complete;
  }

  /**
   * The pieces of the answer. If the service drops pieces that were yielded and begins again, it calls `onRestart`: remove
   * what you have shown of the present model turn. Without `onRestart`, the iteration throws a RunFailed there, because
   * pieces of two attempts are no answer. The run continues, and `complete` and the events have its answer.
   */
  async *text({ onRestart }: { onRestart?: OnRestart } = {}): AsyncGenerator<string, void, undefined> {
    let hasYielded = false;
    for await (const event of this) {
      if (event.event === "step_started") hasYielded = false;
      if (event.event === "step_restarted" && hasYielded) {
        if (!onRestart) throw restarted();
        onRestart(event.data);
        hasYielded = false;
      }
      if (event.event !== "partial_output") continue;
      hasYielded = true;
      yield event.data.content;
    }
  }

  /** Cancels the run. Its last event says so. */
  async cancel(): Promise<void> {
    await cancelRun(new Api(this.service), await this.started);
  }

  /** Approves a call, perhaps with other arguments. Rejects with a RunFailed if the service refuses the decision. */
  async approve(callId: string, changes: Changes = {}): Promise<void> {
    await this.decide(callId, approval(changes));
  }

  /** Refuses a call. The model receives the reason. */
  refuse(callId: string, reason?: string): Promise<void> {
    return this.decide(callId, { approved: false, ...(reason && { reason }) });
  }

  /** Sets new totals of a budget that is spent, so that the run resumes. Rejects with a RunFailed if they are refused. */
  async raiseBudget(totals: BudgetTotals): Promise<void> {
    raise(await this.answers.send(this.run, "budget", { approved: true, ...totals }));
  }

  /** Ends the run, whose budget is spent. It then fails with `budget_exceeded`. */
  async refuseBudget(): Promise<void> {
    raise(await this.answers.send(this.run, "budget", { approved: false }));
  }

  /** Sends the result of a call of the client's own tools that `clientTools` doesn't handle. */
  async sendToolResult(callId: string, content: Json, { isError = false }: { isError?: boolean } = {}): Promise<void> {
    raise(await this.send(callId, { content, is_error: isError }));
  }

  private async decide(callId: string, decision: object | string): Promise<void> {
    raise(await this.answers.send(this.run, `approvals/${encodeURIComponent(callId)}`, decision));
  }

  private send(tool_call_id: string, outcome: Outcome): Promise<AgentError | null> {
    return this.answers.send(this.run, "tool-results", { results: [{ tool_call_id, ...outcome }] });
  }

  private readerOf(run: FollowedRun): RunReader {
    return new RunReader(this.service, run, {
      isCurrent: () => true,
      isWaiting: () => isWaiting(this.state),
      change: (change) => (this.state = change(this.state)),
      learn: (id) => this.know(id),
      take: (frames) => this.take(frames),
      makeCalls: () => this.clientCalls.make(run, this.state.pending),
    });
  }

  private async read(signal: AbortSignal | undefined): Promise<Complete> {
    const leave = () => this.reader.leave();
    signal?.addEventListener("abort", leave);
    try {
      signal?.throwIfAborted();
      const complete = await this.reader.read();
      signal?.throwIfAborted();
      const error = complete?.status === "failed" ? (this.state.error ?? (await this.reader.error())) : null;
      signal?.throwIfAborted();
      if (error) throw new RunFailed(error);
      return complete!; // it is null only after `leave`
    } finally {
      signal?.removeEventListener("abort", leave);
      this.isOver = true;
      this.clientCalls.forget(this.run);
      this.news.notify();
    }
  }

  private know(id: string): void {
    this.run.id ??= id;
    this.learn(id);
  }

  /** Keeps the events for those who iterate. Returns the data of `complete`. */
  private take(frames: Frame[]): Complete | null {
    const [first] = frames;
    if (!first) return null;
    this.know(first.event.run_id);
    const events = frames.map(({ event }) => event);
    this.state = fold(this.state, first.event.run_id, events);
    for (const frame of frames) {
      const { event } = frame;
      this.run.lastSeq = event.seq;
      if (event.event === "tool_use") this.run.calls.set(event.data.tool_call_id, event.data.arguments_text);
      this.service.options.onFrame?.(frame);
      this.events.push(event);
    }
    this.news.notify();
    const last = events.at(-1);
    return last?.event === "complete" ? last.data : null;
  }
}

/** A promise that is replaced each time it resolves. */
class News {
  next: Promise<void>;
  private resolve: () => void = () => {};

  constructor() {
    this.next = this.renewed();
  }

  notify(): void {
    const { resolve } = this;
    this.next = this.renewed();
    resolve();
  }

  private renewed(): Promise<void> {
    return new Promise((resolve) => (this.resolve = resolve));
  }
}

function raise(error: AgentError | null): void {
  if (error) throw new RunFailed(error);
}
