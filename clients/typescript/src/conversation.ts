import { Answers } from "./answers";
import { ClientCalls, type Outcome } from "./client_calls";
import type { BudgetTotals, Complete, Json } from "./contract";
import { approval } from "./decisions";
import { onWake } from "./environment";
import { type AgentError, RunFailed } from "./failures";
import { FollowedRun } from "./followed_run";
import { Follower } from "./follower";
import type { Changes, ConversationOptions, OnEvent } from "./options";
import { type Question, questionOf, requestOf, routeOf, withQuestion } from "./questions";
import { Service } from "./service";
import { SessionLoader } from "./session_loader";
import type { RunState } from "./state";
import { Stopping } from "./stopping";
import { LOOK_MS, RENDER_MS } from "./timing";
import { View } from "./view";

/**
 * A conversation with the agent, as a page shows it. Starts, follows and stops one run at a time. Use `get` and `subscribe`
 * with any view library; `mount` connects it to the service.
 */
export class Conversation {
  private readonly view: View;
  private readonly service: Service;
  private readonly follower: Follower;
  private readonly session: SessionLoader;
  private readonly answers: Answers;
  private readonly stopping: Stopping;
  private place: string | null = null;

  constructor(options: ConversationOptions = {}) {
    this.service = new Service(options);
    this.view = new View(() => this.service.options.renderMs ?? RENDER_MS);
    const send = (run: FollowedRun, callId: string, outcome: Outcome) => this.send(run, callId, outcome);
    const clientCalls = new ClientCalls(this.service, send);
    this.follower = new Follower(this.service, this.view, clientCalls, {
      begins: () => this.session.stop(),
      started: (run) => this.started(run),
      released: (run) => this.answers.forget(run),
      ended: () => void this.session.load(),
    });
    this.answers = new Answers(this.service, (run, error) => this.follower.update(run, (state) => ({ ...state, error })));
    this.session = new SessionLoader(this.service, this.view, this.follower);
    this.stopping = new Stopping(this.service, this.view, this.follower);
  }

  /** Returns the state. It is another object after each change, and an unchanged message stays the same object. */
  get = (): RunState => this.view.get();

  /** Calls `listener` after each change. Returns a function that stops this. */
  subscribe = (listener: () => void): (() => void) => this.view.subscribe(listener);

  /** Replaces the options. After a change of `baseUrl`, `storageKey` or `sessionId`, mount the conversation again. */
  configure = (options: ConversationOptions): void => {
    this.service.options = options;
  };

  /**
   * Follows the run that was under way when this page was left, or asks the question that had not arrived. The state is kept if the conversation is only mounted again,
   * as React does for <Activity> and in StrictMode. Returns a function that stops following.
   */
  mount = (): (() => void) => {
    const { follower, session } = this;
    const { baseUrl, storageKey, sessionId } = this.service.options;
    const place = JSON.stringify([baseUrl, storageKey, sessionId]);
    if (this.place !== place) this.forget();
    this.place = place;
    const run = follower.current ?? follower.beginRemembered();
    if (run) void this.resume(run);
    session.open();
    const stopSharing = this.service.slots.share(() => follower.current?.reader?.giveWay());
    const stopWaking = onWake(() => !follower.current && void session.load());
    const looking = setInterval(() => void session.look(), LOOK_MS);
    return () => {
      clearInterval(looking);
      stopWaking();
      stopSharing();
      session.close();
      follower.pause();
    };
  };

  /**
   * Asks the agent, and calls `onEvent` with each event, once and in order. A run under way is stopped first.
   *
   * Resolves with the data of `complete`, whatever its status. Resolves with null if the run was not read to its end,
   * because it was stopped, the page was left, or an error occurred here; see `status` and `error`. Rejects only
   * with an exception of `onEvent`. In a session, or with `storageKey`, the service finishes a run that has no reader
   * (`on_disconnect`).
   */
  stream = (input: string | Question, onEvent?: OnEvent): Promise<Complete | null> => {
    void this.stop();
    const { follower, session } = this;
    const { options } = this.service;
    const placed = { ...session.place(), ...requestOf(options, input, this.stopping.run !== null) };
    const { parent_run_id, parent_state, ...unplaced } = placed;
    const asked = parent_run_id !== undefined && session.isMissing(parent_run_id) ? unplaced : placed;
    session.choose(null);
    const run = new FollowedRun({ asked, route: routeOf(options, asked), isOurs: true, onEvent });
    const messages = withQuestion(follower.conversation(), questionOf(run), placed);
    return follower.follow(follower.begin(run, { messages }));
  };

  /**
   * Follows any run from its first event, and from now on makes its calls of `clientTools`, in place of a page that is gone.
   * A run that was followed until now continues by itself.
   */
  attach = (runId: string, onEvent?: OnEvent): Promise<Complete | null> => {
    const { follower } = this;
    this.session.choose(null);
    follower.leave();
    return follower.follow(follower.begin(new FollowedRun({ id: runId.trim(), isOurs: true, takesOver: true, onEvent })));
  };

  /**
   * Tries at once, also after `failed`, to read the rest of the run, to send a question or an answer that has not arrived, to
   * cancel a run that was stopped, and to load a session that could not be loaded. Resolves with null if there is nothing to read.
   */
  reconnect = async (): Promise<Complete | null> => {
    const { follower } = this;
    this.session.wake();
    this.stopping.wake();
    this.answers.wake();
    follower.current?.reader?.wake();
    const run = follower.latest;
    if (follower.current || !run || run.isOver) return null;
    follower.current = run;
    const status = run.wasConnected ? "reconnecting" : "connecting";
    follower.update(run, (state) => ({ ...state, status, error: null }));
    return follower.follow(run);
  };

  /**
   * Tries again after a failure: cancels a run that was not stopped, reads the rest of a run that was not read to its end, or else
   * asks the last question again. Resolves like `stream`.
   */
  retry = (onEvent?: OnEvent): Promise<Complete | null> => {
    const { latest } = this.follower;
    if (this.view.state.error?.code === "not_stopped") return this.reconnect();
    return latest && !latest.isOver ? this.reconnect() : this.regenerate(onEvent);
  };

  /**
   * Asks the last question again, and in a session replaces its answer. The request is the same if this page made it.
   * Resolves like `stream`, and with null if there is no question.
   */
  regenerate = async (onEvent?: OnEvent): Promise<Complete | null> => {
    const question = this.view.state.messages.findLast(({ role }) => role === "user");
    if (!question?.content) return null;
    const { run_id, content: input } = question;
    const { latest } = this.follower;
    if (latest?.isUnsent) return this.reconnect(); // with the same key: it may have arrived
    const asked = latest?.id === (run_id || null) ? latest.asked : null;
    const { sessionId } = this.service.options;
    const inPlace = sessionId !== undefined && !this.session.isMissing(run_id); // otherwise its answer has no place here
    const place = inPlace ? ({ parent_run_id: run_id, parent_state: "before" } as const) : {};
    return this.stream({ ...asked, input, ...place }, onEvent);
  };

  /**
   * Cancels the run at the service and stops reading. The status is `stopping` until the service has confirmed it, and then
   * this resolves. While the service can't be reached, it is tried again, with `storageKey` also after a reload; after some
   * seconds, the status is `failed` with the error `not_stopped`, and `stop` may be called again. A run that had ended before is
   * shown to its own end.
   */
  stop = async (): Promise<void> => {
    const run = this.follower.current ?? this.stopping.run;
    if (run) await this.stopping.stop(run);
  };

  /**
   * Approves a call of `pending`. The run resumes when each call has its answer. Resolves with null if the service has
   * accepted the answer, and otherwise with the error, such as invalid arguments (`details`) or an answer from elsewhere
   * (`tool_call_answered`). With `storageKey`, an answer that has not arrived is sent again after a reload. The next four
   * functions do the same. None of them rejects.
   */
  approve = async (callId: string, changes: Changes = {}): Promise<AgentError | null> => {
    try {
      return await this.decide(callId, approval(changes));
    } catch (cause) {
      if (cause instanceof RunFailed) return cause.error; // the changes can't be sent
      throw cause;
    }
  };

  /** Refuses a call of `pending`. The model receives the reason. */
  refuse = (callId: string, reason?: string): Promise<AgentError | null> =>
    this.decide(callId, { approved: false, ...(reason && { reason }) });

  /** Sets new totals of a budget that is spent, so that the run resumes. A total that is left out stays as it is. */
  raiseBudget = (totals: BudgetTotals): Promise<AgentError | null> => this.decideBudget({ approved: true, ...totals });

  /** Ends the run, whose budget is spent. It then fails with `budget_exceeded`. */
  refuseBudget = (): Promise<AgentError | null> => this.decideBudget({ approved: false });

  /** Sends the result of a call of the kind `client` that `clientTools` doesn't handle. */
  sendToolResult = (
    callId: string,
    content: Json,
    { isError = false }: { isError?: boolean | undefined } = {},
  ): Promise<AgentError | null> => {
    const results = [{ tool_call_id: callId, content, is_error: isError }];
    return this.answers.sendKept(this.follower.current, "tool-results", { results });
  };

  /**
   * Shows the branch of the session with this run, such as one of a question's `branches`, or with null the latest branch.
   * The next question continues it.
   * A run of another branch that was followed until now continues by itself. Resolves once the branch is up to date.
   */
  showBranch = (runId: string | null): Promise<void> => this.session.showBranch(runId);

  /** Follows a run, after it was cancelled if it has been stopped before. */
  private async resume(run: FollowedRun): Promise<void> {
    if (run.isStopped && !run.id) return this.stopping.stop(run);
    if (run.isStopped) await this.stopping.cancel(run);
    if (this.follower.current !== run) return;
    const following = this.follower.follow(run);
    this.answers.resend(run);
    await following;
  }

  /** A question that takes another one's place has versions, which the session knows. */
  private started({ asked }: FollowedRun): void {
    if (asked?.parent_run_id !== undefined || !this.view.state.history.isLoaded) void this.session.load();
  }

  private forget(): void {
    this.follower.forgetAll();
    this.session.forget();
  }

  private decide(callId: string, decision: object | string): Promise<AgentError | null> {
    return this.answers.sendKept(this.follower.current, `approvals/${encodeURIComponent(callId)}`, decision);
  }

  private decideBudget(decision: object): Promise<AgentError | null> {
    return this.answers.sendKept(this.follower.current, "budget", decision);
  }

  private send(run: FollowedRun, tool_call_id: string, outcome: Outcome) {
    return this.answers.send(run, "tool-results", { results: [{ tool_call_id, ...outcome }] });
  }
}
