import { ClientCalls } from "./client_calls";
import type { AgentRequest, Complete, SimulateRequest } from "./contract";
import { RunFailed } from "./failures";
import { fold } from "./folding";
import { FollowedRun } from "./followed_run";
import type { Frame } from "./frames";
import { keep, kept } from "./kept";
import type { ConversationOptions } from "./options";
import { Ownership } from "./ownership";
import { questionOf, withQuestion } from "./questions";
import { RunReader } from "./run_reader";
import type { Service } from "./service";
import { answerOf, IDLE, isWaiting, type Message, type RunState, withAnswer, withoutAnswer } from "./state";
import type { View } from "./view";

/** What a reloaded page needs of a run besides its id. */
interface Kept {
  key: string;
  asked: AgentRequest | SimulateRequest | null;
  route: string;
  isStopped: boolean;
}

/** Called about the runs of a conversation. */
export interface RunListener {
  /** A run is about to be shown. */
  begins: () => void;
  /** The service has accepted a question. */
  started: (run: FollowedRun) => void;
  /** A run has ended or was stopped. Nothing is sent to it any more. */
  released: (run: FollowedRun) => void;
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
  private readonly ownership: Ownership;
  readonly listener: RunListener;

  constructor(service: Service, view: View, clientCalls: ClientCalls, listener: RunListener) {
    this.service = service;
    this.view = view;
    this.clientCalls = clientCalls;
    this.ownership = new Ownership(() => service.url, (run) => this.disown(run));
    this.listener = listener;
  }

  private get options(): ConversationOptions {
    return this.service.options;
  }

  /** Shows this run, with `messages` before its answer. */
  begin(run: FollowedRun, { messages, error = null }: Partial<RunState> = {}): FollowedRun {
    this.listener.begins();
    this.current = this.latest = run;
    this.remember(run);
    const { id: runId, isOurs } = run;
    const status = run.isStopped ? "stopping" : "connecting";
    this.view.change(({ history: { isLoaded } }) => {
      const before = messages ?? this.conversation() ?? [];
      return { ...IDLE, messages: before, status, runId, isOurs, error, history: { isLoaded, error: null } };
    });
    return run;
  }

  /** Reads a run to its end. Resolves with null if it doesn't reach the end, as `stream` does. */
  async follow(run: FollowedRun): Promise<Complete | null> {
    this.ownership.claim(run);
    run.reader?.leave();
    const reader: RunReader = new RunReader(this.service, run, {
      isCurrent: () => this.current === run && run.reader === reader,
      isWaiting: () => this.current === run && isWaiting(this.view.state),
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

  /** Shows the run that was under way when the page was left, or a question that had not arrived. Returns it, or null. */
  beginRemembered(): FollowedRun | null {
    const id = kept(this.options) || undefined;
    const about = JSON.parse(kept(this.options, "run") ?? "{}") as Partial<Kept>;
    const { asked } = about;
    const isBeingStopped = about.key === this.latest?.key && this.latest?.isStopped;
    if ((id === undefined && !asked) || isBeingStopped) return null;
    const run = new FollowedRun({ ...about, ...(id && { id }), isOurs: true, isInDoubt: id === undefined });
    return this.begin(run, asked ? { messages: withQuestion(this.conversation(), questionOf(run), asked) } : {});
  }

  /** The messages to which a question is added: those of the session, if there is one. */
  conversation(): Message[] | null {
    return this.options.sessionId === undefined ? null : this.view.state.messages;
  }

  /** Shows a change, unless another run has taken this one's place. */
  update(run: FollowedRun, change: (state: RunState) => RunState): void {
    if (this.current === run) this.view.change(change);
  }

  /** Notes that a run has ended. */
  finish(run: FollowedRun): void {
    const answer = answerOf(this.view.state, run.id);
    if (answer) this.read.set(answer.run_id, answer);
    this.release(run);
    this.forget(run);
  }

  /** Makes room for another run, because this one has ended or was stopped. */
  release(run: FollowedRun): void {
    run.isOver = true;
    this.current = null;
    this.ownership.release();
    this.clientCalls.forget(run);
    this.listener.released(run);
  }

  /** Removes what is kept of a run for a reloaded page, unless another run has taken its place. */
  forget({ key }: FollowedRun): void {
    const about = JSON.parse(kept(this.options, "run") ?? "{}") as Partial<Kept>;
    if (about.key !== key) return;
    keep(this.options, "", null);
    keep(this.options, "run", null);
  }

  /** Stops reading until the run is followed again. The run itself continues. */
  pause(): void {
    this.current?.reader?.leave();
    this.ownership.release();
  }

  /** Stops following. The run itself continues. */
  leave(): void {
    this.pause();
    this.current = null;
  }

  forgetAll(): void {
    this.leave();
    this.latest = null;
    this.read.clear();
    this.view.change(() => IDLE);
  }

  /** Passes events to `onFrame`, shows them, and passes them to `onEvent`. Returns the data of `complete`. */
  private take(run: FollowedRun, frames: Frame[], signal: AbortSignal): Complete | null {
    const [first] = frames;
    if (!first) return null;
    const runId = first.event.run_id;
    this.learn(run, runId);
    const isLeft = () => signal.aborted || this.current !== run;
    for (const frame of frames) if (!isLeft()) this.options.onFrame?.(frame);
    const events = frames.map(({ event }) => event);
    this.update(run, (state) => fold(state, runId, events));
    for (const event of events) {
      if (isLeft()) return null;
      run.lastSeq = event.seq;
      run.onEvent?.(event);
      if (event.event === "tool_use") run.calls.set(event.data.tool_call_id, event.data.arguments_text);
      if (event.event !== "complete") continue;
      this.finish(run);
      this.listener.ended();
      return event.data;
    }
    return null;
  }

  /** Notes that another page makes the calls of a run. */
  private disown(run: FollowedRun): void {
    run.isOurs = false;
    this.update(run, (state) => ({ ...state, isOurs: false }));
  }

  private fail(run: FollowedRun, cause: unknown): void {
    const isOurs = cause instanceof RunFailed;
    const error = isOurs ? cause.error : { code: "callback", message: String(cause), retryable: false };
    run.isGone = isOurs && cause.isGone;
    this.update(run, (state) => {
      const answer = answerOf(state, run.id);
      const failed: RunState = { ...state, status: "failed", pending: [], budget: null, error };
      if (!answer) return withoutAnswer(failed, run.key, "failed");
      return withAnswer(failed, { ...answer, status: "failed", error });
    });
    const isRefused = isOurs && cause.isFinal && !run.id;
    if (!isOurs || run.isGone || isRefused) this.finish(run);
    this.current = null;
    this.listener.ended();
  }

  /** Notes the id of a run. */
  learn(run: FollowedRun, id: string): void {
    if (run.id) return;
    run.id = id;
    if (this.latest !== run) return;
    this.remember(run);
    if (!run.isOver) this.ownership.claim(run);
    this.view.change((state) => ({
      ...state,
      runId: id,
      messages: state.messages.map((message) =>
        message.message_id === run.key ? { ...message, run_id: id } : message,
      ),
    }));
    this.listener.started(run);
  }

  /** Keeps what a reloaded page needs: the run, or the question until the service has accepted it. */
  remember(run: FollowedRun): void {
    const { id, key, asked, route, isStopped } = run;
    const about: Kept = { key, asked, route, isStopped };
    keep(this.options, "", id);
    keep(this.options, "run", JSON.stringify(about));
  }
}
