import type { RunStatus } from "./contract";
import { deliver } from "./deliver";
import { type AgentError, isForeign } from "./failures";
import { FollowedRun } from "./followed_run";
import type { Follower } from "./follower";
import { ask, startedIn } from "./run_requests";
import type { Service } from "./service";
import { answerOf, emptyAnswer, type RunState, withAnswer, withoutAnswer } from "./state";
import { QUIET_TRIES } from "./timing";
import type { View } from "./view";

interface Cancelled {
  status?: RunStatus;
  /** The error of a run that had failed before. */
  error?: AgentError | null;
  /** Why the service has not confirmed it. */
  refusal?: AgentError;
}

interface Cancelling {
  run: FollowedRun;
  done: Promise<Cancelled>;
}

/** Stops runs. A run continues at the service until the service has confirmed that it is cancelled. */
export class Stopping {
  /** The run that was stopped last, until that is confirmed. */
  run: FollowedRun | null = null;
  private readonly service: Service;
  private readonly view: View;
  private readonly follower: Follower;
  private cancelling: Cancelling | null = null;
  private quietTries = 0;
  private endPause = (): void => {};

  constructor(service: Service, view: View, follower: Follower) {
    this.service = service;
    this.view = view;
    this.follower = follower;
  }

  /**
   * Shows nothing more of a run, and cancels it: at once, if another try was about to follow. Resolves when the service has
   * confirmed it, or when the tries have ended.
   */
  async stop(run: FollowedRun): Promise<void> {
    const { follower } = this;
    if (this.cancelling?.run === run) return this.hurry(this.cancelling);
    run.isStopped = true;
    this.run = run;
    this.takeBack(run);
    this.show(run, null);
    if (follower.current === run) follower.release(run);
    follower.remember(run);
    if (!run.id) await run.reader?.answered(); // before the response there is no id by which to cancel
    run.reader?.leave();
    this.takeBack(run);
    this.settle(run, await this.cancel(run));
  }

  /** Tries at once to cancel the run that was stopped last, also after the tries have ended. */
  wake(): void {
    const run = this.cancelling?.run ?? this.run;
    if (run) void this.stop(run);
  }

  private async hurry({ run, done }: Cancelling): Promise<void> {
    this.show(run, null);
    this.quietTries = 1;
    this.endPause();
    await done;
  }

  /**
   * Cancels a run, however long the service can't be reached. Resolves with the run's status at the service, or with the
   * refusal. Without an id, the question is asked again: only then it is known whether it has a run.
   */
  async cancel(run: FollowedRun): Promise<Cancelled> {
    if (!run.id && !run.isInDoubt) return {}; // the service has refused the question, or has never been asked
    const cancelling = { run, done: this.deliver(run) };
    this.cancelling = cancelling;
    const cancelled = await cancelling.done;
    if (this.cancelling === cancelling) this.cancelling = null;
    return cancelled;
  }

  private async deliver(run: FollowedRun): Promise<Cancelled> {
    const request = { method: "POST", keepalive: true };
    let cancelled: Cancelled = {};
    const send = async () => {
      const asked = run.id ? null : await this.askAgain(run);
      if (!run.id) return asked;
      const response = await this.service.request(`${run.path}/cancel`, request).catch(() => null);
      if (response?.ok) cancelled = (await response.json().catch(() => ({}))) as Cancelled;
      return response;
    };
    this.quietTries = QUIET_TRIES;
    const error = await deliver(this.service, send, {
      signal: new AbortController().signal,
      expose: (end) => (this.endPause = end),
      onRetry: (failure) => this.countTry(run, failure),
    });
    const hasNoRun = !run.id && error?.code === "session_busy"; // another question is under way in its place
    return error && !hasNoRun ? { refusal: error } : cancelled;
  }

  private countTry(run: FollowedRun, failure: AgentError): void {
    this.quietTries -= 1;
    if (this.quietTries <= 0) this.show(run, notStopped(failure));
  }

  /** Shows that a run is being stopped, or why that is not confirmed. */
  private show(run: FollowedRun, error: AgentError | null): void {
    if (this.follower.latest === run) this.view.change((state) => unconfirmed(state, run, error));
  }

  /** Shows a question that got no response as cancelled, so that its text can be used again at once. */
  private takeBack(run: FollowedRun): void {
    if (!run.id && run.isInDoubt) this.view.change((state) => withoutAnswer(state, run.key, "cancelled"));
  }

  /** Asks a question with the same key as before, and notes the id of its run. */
  private async askAgain(run: FollowedRun): Promise<Response | null> {
    const response = await ask(this.service, run, { isPolled: true }).catch(() => null);
    if (!response?.ok) return response;
    const id = await startedIn(response);
    if (id) this.follower.learn(run, id);
    return response;
  }

  /** Shows the end of a run that was stopped, or why it was not. If it had ended by itself before, that is its own end. */
  private settle(run: FollowedRun, { status = "cancelled", refusal, error = refusal ?? null }: Cancelled): void {
    const { follower, view } = this;
    if (refusal && refusal.code !== "run_not_found") return this.show(run, notStopped(refusal));
    follower.forget(run);
    if (this.run === run) this.run = null;
    const isShown = follower.latest === run;
    const hasEnded = status === "succeeded" || status === "failed";
    if (hasEnded && isShown && view.state.runId === run.id) return this.showEnd(run);
    view.change((state) => (isShown ? { ...stopped(state, run), status: "cancelled", error } : stopped(state, run)));
    const answer = answerOf(view.state, run.id);
    if (answer && !hasEnded) follower.read.set(answer.run_id, answer);
    follower.listener.ended();
  }

  private showEnd({ id, key, asked, route }: FollowedRun): void {
    const { follower, view } = this;
    const run = new FollowedRun({ ...(id && { id }), key, asked, route, isOurs: false, isStopped: true });
    const messages = view.state.messages.filter((message) => message !== answerOf(view.state, id));
    void follower.follow(follower.begin(run, { messages }));
  }
}

/** Returns the error that a run could not be stopped, and what to do. */
function notStopped(error: AgentError): AgentError {
  const message = error.code === "network" || isForeign(error)
    ? "The service can't be reached, so the run may still be going. Stop it again when the service is back."
    : `The run was not stopped: ${error.message} Stop it again.`;
  return { ...error, code: "not_stopped", message };
}

/** The state in which a run is being stopped, or in which the error says that it was not. */
function unconfirmed(state: RunState, run: FollowedRun, error: AgentError | null): RunState {
  const shown: RunState = { ...state, status: error ? "failed" : "stopping", pending: [], budget: null, error };
  const answer = answerOf(state, run.id);
  if (!answer) return shown;
  const { error: _error, ...rest } = answer;
  return withAnswer(shown, error ? { ...rest, status: "failed", error } : { ...rest, status: "running" });
}

/** The state in which the question and the answer of a run are cancelled. */
function stopped(state: RunState, run: FollowedRun): RunState {
  if (run.id === null) return withoutAnswer(state, run.key, "cancelled");
  const isThere = state.messages.some(({ run_id }) => run_id === run.id);
  if (!isThere) return state;
  const { error: _error, ...answer } = answerOf(state, run.id) ?? emptyAnswer(run.id);
  return withAnswer(state, { ...answer, status: "cancelled" });
}
