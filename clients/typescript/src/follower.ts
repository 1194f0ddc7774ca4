import { ClientCalls } from "./client_calls";
import type { AgentRequest, Complete } from "./contract";
import { RunFailed } from "./failures";
import { fold } from "./folding";
import { FollowedRun } from "./followed_run";
import type { Frame } from "./frames";
import { storage } from "./kept";
import type { ConversationOptions } from "./options";
import { withQuestion } from "./questions";
import { RunReader } from "./run_reader";
import type { Service } from "./service";
import { answerOf, IDLE, type Message, type RunState, withAnswer, withoutAnswer } from "./state";
import type { View } from "./view";

/** Called about the runs of a conversation. */
export interface RunListener {
  /** A run is about to be shown. */
  begins: () => void;
  /** The service has accepted a question. */
  started: (run: FollowedRun) => void;
  /** A run has ended or failed. */
  ended: () => void;
}

/** Follows one run at a time: reads its events into the view and remembers it for a reloaded page. */
export class Follower {
  current: FollowedRun | null = null;
  latest: FollowedRun | null = null;
  /** The answers that this page has read to their end, by run. */
  readonly read: Map<string, Message> = new Map();
  private readonly service: Service;
  private readonly view: View;
  private readonly clientCalls: ClientCalls;
  private readonly listener: RunListener;

  constructor(service: Service, view: View, clientCalls: ClientCalls, listener: RunListener) {
    this.service = service;
    this.view = view;
    this.clientCalls = clientCalls;
    this.listener = listener;
  }

  private get options(): ConversationOptions {
    return this.service.options;
  }

  /** Shows this run, with `messages` before its answer. */
  begin(run: FollowedRun, { messages, error = null }: Partial<RunState> = {}): FollowedRun {
    this.listener.begins();
    this.current = this.latest = run;
    if (run.id) this.remember(run);
    const { id: runId, isOurs } = run;
    const before = this.options.sessionId === undefined ? [] : this.view.state.messages;
    this.view.change(() => ({ ...IDLE, messages: messages ?? before, status: "connecting", runId, isOurs, error }));
    return run;
  }

  /** Reads a run to its end. Resolves with null if it doesn't reach the end, as `stream` does. */
  async follow(run: FollowedRun): Promise<Complete | null> {
    run.reader?.leave();
    const reader: RunReader = new RunReader(this.service, run, {
      isCurrent: () => this.current === run && run.reader === reader,
      isWaiting: () => this.current === run && this.view.state.pending.length > 0,
      change: (change) => this.update(run, change),
      learn: (id) => this.learn(run, id),
      take: (frames) => this.take(run, frames, reader.signal),
      makeCalls: () => this.clientCalls.make(run, this.view.state.pending),
    });
    run.reader = reader;
    try {
      return await reader.read();
    } catch (cause) {
      if (reader.signal.aborted || this.current !== run) return null;
      this.fail(run, cause);
      if (cause instanceof RunFailed) return null;
      throw cause;
    }
  }

  /** Follows the run that was under way when the page was left, if there is one. */
  followRemembered(): void {
    const id = storage(this.options, (kept, key) => kept.getItem(key));
    if (!id) return;
    const text = storage(this.options, (kept, key) => kept.getItem(`${key}:asked`)) ?? "null";
    const asked = JSON.parse(text) as AgentRequest | null;
    const run = new FollowedRun({ id, isOurs: true, ...(asked && { asked }) });
    void this.follow(this.begin(run, asked ? { messages: withQuestion(this.conversation(), run, asked) } : {}));
  }

  /** The messages to which a question is added: those of the session, if there is one. */
  conversation(): Message[] | null {
    return this.options.sessionId === undefined ? null : this.view.state.messages;
  }

  /** Shows a change, unless another run has taken this one's place. */
  update(run: FollowedRun, change: (state: RunState) => RunState): void {
    if (this.current === run) this.view.change(change);
  }

  /** Removes the stored data of a run that has ended. */
  finish(run: FollowedRun): void {
    const answer = answerOf(this.view.state, run.id);
    if (answer) this.read.set(answer.run_id, answer);
    run.isOver = true;
    this.current = null;
    storage(this.options, (kept, key) => {
      kept.removeItem(key);
      kept.removeItem(`${key}:asked`);
    });
    this.clientCalls.forget(run);
  }

  /** Stops following. The run itself continues. */
  leave(): void {
    this.current?.reader?.leave();
    this.current = null;
  }

  forgetAll(): void {
    this.leave();
    this.latest = null;
    this.read.clear();
    this.view.change(() => IDLE);
  }

  /** Shows events and passes them to `onEvent` and `onFrame`. Returns the data of `complete`. */
  private take(run: FollowedRun, frames: Frame[], signal: AbortSignal): Complete | null {
    const [first] = frames;
    if (!first) return null;
    const runId = first.event.run_id;
    this.learn(run, runId);
    const events = frames.map(({ event }) => event);
    this.update(run, (state) => fold(state, runId, events));
    for (const frame of frames) {
      if (signal.aborted || this.current !== run) return null;
      const { event } = frame;
      run.lastSeq = event.seq;
      this.options.onFrame?.(frame);
      run.onEvent?.(event);
      if (event.event === "tool_use") run.calls.set(event.data.tool_call_id, event.data.arguments_text);
      if (event.event !== "complete") continue;
      this.finish(run);
      this.listener.ended();
      return event.data;
    }
    return null;
  }

  private fail(run: FollowedRun, cause: unknown): void {
    const isOurs = cause instanceof RunFailed;
    const error = isOurs ? cause.error : { code: "callback", message: String(cause), retryable: false };
    run.isGone = isOurs && cause.isGone;
    this.update(run, (state) => {
      const answer = answerOf(state, run.id);
      const failed: RunState = { ...state, status: "failed", pending: [], error };
      if (!answer) return withoutAnswer(failed, run.key, "failed");
      return withAnswer(failed, { ...answer, status: "failed", error });
    });
    const isRefused = isOurs && cause.isFinal && !run.id;
    if (!isOurs || run.isGone || isRefused) this.finish(run);
    this.current = null;
    this.listener.ended();
  }

  private learn(run: FollowedRun, id: string): void {
    if (run.id) return;
    run.id = id;
    if (this.current !== run) return;
    this.remember(run);
    this.view.change((state) => ({
      ...state,
      runId: id,
      messages: state.messages.map((message) =>
        message.message_id === run.key ? { ...message, run_id: id } : message,
      ),
    }));
    this.listener.started(run);
  }

  /** Stores the data that a reloaded page needs. A question that is too large, such as one with images, is left out. */
  private remember({ id, asked }: FollowedRun): void {
    storage(this.options, (kept, key) => kept.setItem(key, id ?? ""));
    storage(this.options, (kept, key) => kept.setItem(`${key}:asked`, JSON.stringify(asked)));
  }
}
