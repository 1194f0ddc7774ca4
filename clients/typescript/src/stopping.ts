import type { RunStatus } from "./contract";
import { deliver } from "./deliver";
import type { AgentError } from "./failures";
import { FollowedRun } from "./followed_run";
import type { Follower } from "./follower";
import { ask, startedIn } from "./run_requests";
import type { Service } from "./service";
import { answerOf, emptyAnswer, type RunState, withAnswer, withoutAnswer } from "./state";
import type { View } from "./view";

interface Cancelled {
  status?: RunStatus;
  error?: AgentError | null;
}

/** Stops runs. A run continues at the service until the service has confirmed that it is cancelled. */
export class Stopping {
  /** The run that was stopped last, until that is confirmed. */
  run: FollowedRun | null = null;
  /** Tries at once to cancel a run for which the service could not be reached. */
  wake = (): void => {};
  private readonly service: Service;
  private readonly view: View;
  private readonly follower: Follower;

  constructor(service: Service, view: View, follower: Follower) {
    this.service = service;
    this.view = view;
    this.follower = follower;
  }

  /** Shows nothing more of a run, and cancels it. Resolves when the service has confirmed it. */
  async stop(run: FollowedRun): Promise<void> {
    const { follower } = this;
    run.isStopped = true;
    this.run = run;
    this.takeBack(run);
    follower.update(run, (state) => ({ ...state, status: "stopping", pending: [], budget: null, error: null }));
    follower.release(run);
    follower.remember(run);
    if (!run.id) await run.reader?.answered(); // before the response there is no id by which to cancel
    run.reader?.leave();
    this.takeBack(run);
    const cancelled = await this.cancel(run);
    follower.forget(run);
    if (this.run === run) this.run = null;
    this.settle(run, cancelled);
  }

  /**
   * Cancels a run, however long the service can't be reached. Resolves with the run's status at the service, or with the
   * error if the service refuses. Without an id, the question is asked again: only then it is known whether it has a run.
   */
  async cancel(run: FollowedRun): Promise<Cancelled> {
    if (!run.id && !run.isInDoubt) return {}; // the service has refused the question, or has never been asked
    const request = { method: "POST", keepalive: true };
    let cancelled: Cancelled = {};
    const send = async () => {
      const asked = run.id ? null : await this.askAgain(run);
      if (!run.id) return asked;
      const response = await this.service.request(`${run.path}/cancel`, request).catch(() => null);
      if (response?.ok) cancelled = (await response.json().catch(() => ({}))) as Cancelled;
      return response;
    };
    const error = await deliver(this.service, send, {
      signal: new AbortController().signal,
      expose: (end) => (this.wake = end),
    });
    const hasNoRun = !run.id && error?.code === "session_busy"; // another question is under way in its place
    return error && !hasNoRun ? { error } : cancelled;
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

  /** Shows the end of a run that was stopped. If it had ended by itself before, that is its own end. */
  private settle(run: FollowedRun, { error = null, status = "cancelled" }: Cancelled): void {
    const { follower, view } = this;
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

/** The state in which the question and the answer of a run are cancelled. */
function stopped(state: RunState, run: FollowedRun): RunState {
  if (run.id === null) return withoutAnswer(state, run.key, "cancelled");
  const isThere = state.messages.some(({ run_id }) => run_id === run.id);
  return isThere ? withAnswer(state, { ...(answerOf(state, run.id) ?? emptyAnswer(run.id)), status: "cancelled" }) : state;
}
