import type { RunStatus } from "./contract";
import { deliver } from "./deliver";
import type { AgentError } from "./failures";
import type { FollowedRun } from "./followed_run";
import type { Follower } from "./follower";
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
    const { follower, view } = this;
    run.isStopped = true;
    this.run = run;
    follower.update(run, (state) => ({ ...state, status: "stopping", pending: [], error: null }));
    follower.release(run);
    follower.remember(run);
    if (!run.id) await run.reader?.answered(); // before the response there is no id by which to cancel
    run.reader?.leave();
    const { error = null, status = "cancelled" } = run.id ? await this.cancel(run) : {};
    const isShown = follower.latest === run;
    view.change((state) => (isShown ? { ...stopped(state, run), status: "cancelled", error } : stopped(state, run)));
    const answer = answerOf(view.state, run.id);
    if (answer && status !== "succeeded" && status !== "failed") follower.read.set(answer.run_id, answer);
    follower.forget(run);
    if (this.run === run) this.run = null;
    follower.listener.ended();
  }

  /**
   * Cancels a run, however long the service can't be reached. Resolves with the run's status at the service, or with the
   * error if the service refuses.
   */
  async cancel(run: FollowedRun): Promise<Cancelled> {
    const request = { method: "POST", keepalive: true };
    let cancelled: Cancelled = {};
    const send = async () => {
      const response = await this.service.request(`${run.path}/cancel`, request).catch(() => null);
      if (response?.ok) cancelled = (await response.json().catch(() => ({}))) as Cancelled;
      return response;
    };
    const error = await deliver(this.service, send, {
      signal: new AbortController().signal,
      expose: (end) => (this.wake = end),
    });
    return error ? { error } : cancelled;
  }
}

/** The state in which the question and the answer of a run are cancelled. */
function stopped(state: RunState, run: FollowedRun): RunState {
  if (run.id === null) return withoutAnswer(state, run.key, "cancelled");
  const isThere = state.messages.some(({ run_id }) => run_id === run.id);
  return isThere ? withAnswer(state, { ...(answerOf(state, run.id) ?? emptyAnswer(run.id)), status: "cancelled" }) : state;
}
