import { answer } from "./answers";
import { ClientCalls, type Outcome } from "./client_calls";
import type { Complete, Json } from "./contract";
import { approval } from "./decisions";
import { onWake } from "./environment";
import { type AgentError, RunFailed } from "./failures";
import { FollowedRun } from "./followed_run";
import { Follower } from "./follower";
import type { Changes, ConversationOptions, OnEvent } from "./options";
import { type Question, requestOf, routeOf, withQuestion } from "./questions";
import { Service } from "./service";
import { SessionLoader } from "./session_loader";
import { answerOf, emptyAnswer, type RunState, withAnswer, withoutAnswer } from "./state";
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
  /** A run that was stopped here, until the service has confirmed it. */
  private stopping: FollowedRun | null = null;
  private place: string | null = null;

  constructor(options: ConversationOptions = {}) {
    this.service = new Service(options);
    this.view = new View(() => this.service.options.renderMs ?? RENDER_MS);
    const send = (run: FollowedRun, callId: string, outcome: Outcome) => this.send(run, callId, outcome, Infinity);
    const clientCalls = new ClientCalls(this.service, send);
    this.follower = new Follower(this.service, this.view, clientCalls, {
      begins: () => this.session.stop(),
      // A question that takes another one's place has versions, which the session knows.
      started: ({ asked }) => asked?.parent_run_id !== undefined && void this.session.load(),
      ended: () => void this.session.load(),
    });
    this.session = new SessionLoader(this.service, this.view, this.follower);
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
   * Follows the run that was under way when this page was left. The state is kept if the conversation is only mounted again,
   * as React does for <Activity> and in StrictMode. Returns a function that stops following.
   */
  mount = (): (() => void) => {
    const { follower, session } = this;
    const { baseUrl, storageKey, sessionId } = this.service.options;
    const place = JSON.stringify([baseUrl, storageKey, sessionId]);
    if (this.place !== place) this.forget();
    this.place = place;
    if (follower.current) void follower.follow(follower.current);
    else follower.followRemembered();
    void session.load();
    const stopSharing = this.service.slots.share(() => follower.current?.reader?.giveWay());
    const stopWaking = onWake(() => !follower.current && void session.load());
    const looking = setInterval(() => void session.look(), LOOK_MS);
    return () => {
      clearInterval(looking);
      stopWaking();
      stopSharing();
      session.stop();
      follower.current?.reader?.leave();
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
    const placed = { ...session.place(), ...requestOf(options, input, this.stopping !== null) };
    const { parent_run_id, parent_state, ...unplaced } = placed;
    const asked = parent_run_id !== undefined && session.isMissing(parent_run_id) ? unplaced : placed;
    session.choose(null);
    const run = new FollowedRun({ asked, route: routeOf(options, asked), isOurs: true, onEvent });
    return follower.follow(follower.begin(run, { messages: withQuestion(follower.conversation(), run, placed) }));
  };

  /**
   * Follows any run from its first event, and from now on makes its calls of `clientTools`, in place of a page that is gone.
   * A run that was followed until now continues by itself.
   */
  attach = (runId: string, onEvent?: OnEvent): Promise<Complete | null> => {
    const { follower } = this;
    this.session.choose(null);
    follower.leave();
    return follower.follow(follower.begin(new FollowedRun({ id: runId.trim(), isOurs: true, onEvent })));
  };

  /** Tries at once, also after `failed`, to read the rest of the run. Resolves with null if there is nothing to read. */
  reconnect = async (): Promise<Complete | null> => {
    const { follower } = this;
    follower.current?.reader?.wake();
    const run = follower.latest;
    if (follower.current || !run || run.isOver) return null;
    follower.current = run;
    const status = run.wasConnected ? "reconnecting" : "connecting";
    follower.update(run, (state) => ({ ...state, status, error: null }));
    return follower.follow(run);
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
    const asked = latest?.id === (run_id || null) ? latest.asked : null;
    const { sessionId } = this.service.options;
    const inPlace = sessionId !== undefined && !this.session.isMissing(run_id); // otherwise its answer has no place here
    const place = inPlace ? ({ parent_run_id: run_id, parent_state: "before" } as const) : {};
    return this.stream({ ...asked, input, ...place }, onEvent);
  };

  /** Cancels the run at the service and stops reading. Resolves when the service has confirmed it. */
  stop = async (): Promise<void> => {
    const { follower } = this;
    const run = follower.current;
    if (!run) return;
    follower.update(run, (state) => {
      const cancelled: RunState = { ...state, status: "cancelled", pending: [], error: null };
      if (run.id === null) return withoutAnswer(cancelled, run.key, "cancelled");
      return withAnswer(cancelled, { ...(answerOf(state, run.id) ?? emptyAnswer(run.id)), status: "cancelled" });
    });
    follower.finish(run);
    this.stopping = run;
    if (!run.id) await run.reader?.answered(); // before the response there is no id by which to cancel
    run.reader?.leave();
    const cancel = { method: "POST", keepalive: true };
    // If the service can't be reached, the run continues, or ends when it has no reader.
    if (run.id) await this.service.request(`${run.path}/cancel`, cancel).catch(() => null);
    if (this.stopping === run) this.stopping = null;
  };

  /**
   * Approves a call of `pending`. The run resumes when each call has its answer. Resolves with null if the service has
   * accepted the answer, and otherwise with the error, such as invalid arguments (`details`) or an answer from elsewhere
   * (`tool_call_answered`). The next two functions do the same. None of them rejects.
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

  /** Sends the result of a call of the kind `client` that `clientTools` doesn't handle. */
  sendToolResult = (
    callId: string,
    content: Json,
    { isError = false }: { isError?: boolean | undefined } = {},
  ): Promise<AgentError | null> => this.send(this.follower.current, callId, { content, is_error: isError });

  /**
   * Shows the branch of the session with this run, such as one of a question's `branches`. The next question continues it.
   * A run of another branch that was followed until now continues by itself. Resolves once the branch is up to date.
   */
  showBranch = (runId: string): Promise<void> => this.session.showBranch(runId);

  private forget(): void {
    this.follower.forgetAll();
    this.session.forget();
  }

  private decide(callId: string, decision: object | string): Promise<AgentError | null> {
    return answer(this.service, this.follower.current, `approvals/${encodeURIComponent(callId)}`, decision);
  }

  private send(run: FollowedRun | null, tool_call_id: string, outcome: Outcome, retries?: number) {
    return answer(this.service, run, "tool-results", { results: [{ tool_call_id, ...outcome }] }, retries);
  }
}
