import type { MessageList, RunList, SessionMessage } from "./contract";
import { isHidden } from "./environment";
import { parse } from "./exact_json";
import { failureOf, refusal } from "./failures";
import { FollowedRun } from "./followed_run";
import type { Follower } from "./follower";
import { conversation, withShown } from "./history";
import { type Place, withQuestion } from "./questions";
import type { Service } from "./service";
import { SessionTree } from "./session_tree";
import { answerOf, IDLE, isUnfinished, type Message, type RunState, withAnswer } from "./state";
import { pause, rest, retryDelay } from "./timing";
import type { View } from "./view";

/** Loads the session as the service has stored it, shows one of its branches, and follows a run of it that is under way. */
export class SessionLoader {
  private readonly service: Service;
  private readonly view: View;
  private readonly follower: Follower;
  private loading = new AbortController();
  private tree = new SessionTree([]);
  /** The run whose branch the user has chosen. Without it, the latest branch is shown. */
  private chosen: string | null = null;
  private isOpen = false;
  private endRest = (): void => {};

  constructor(service: Service, view: View, follower: Follower) {
    this.service = service;
    this.view = view;
    this.follower = follower;
  }

  private get sessionId(): string | undefined {
    return this.service.options.sessionId;
  }

  /** Loads the session from now on, when it may have changed. */
  open(): void {
    this.isOpen = true;
    void this.load();
  }

  /** Loads nothing more until `open`, because the page is left. */
  close(): void {
    this.isOpen = false;
    this.stop();
  }

  /** Drops what is being loaded. */
  stop(): void {
    this.loading.abort();
  }

  /** Forgets the session, because another one is shown. */
  forget(): void {
    this.tree = new SessionTree([]);
    this.chosen = null;
  }

  /** The fields of a question that continues the branch that the user has chosen. */
  place(): Place {
    const end = this.chosen === null ? undefined : this.tree.branch(this.chosen).at(-1);
    return end === undefined ? {} : { parent_run_id: end, parent_state: "after" };
  }

  /** Shows the branch with this run, or with null the latest. */
  choose(runId: string | null): void {
    this.chosen = runId;
  }

  /** Shows the branch with this run, or with null the latest. A run that was followed until now continues by itself. */
  async showBranch(runId: string | null): Promise<void> {
    this.follower.leave();
    this.choose(runId);
    this.view.change(({ messages, history }) => this.withStored({ ...IDLE, messages, history }));
    await this.load();
  }

  /** Checks for a question of another page in the session. */
  async look(): Promise<void> {
    const { sessionId, follower } = this;
    if (sessionId === undefined || follower.current || isHidden()) return;
    const { signal } = this.loading;
    const runs = await this.latestRuns(sessionId, signal).catch(() => []);
    const isShown = (id: string) => this.tree.has(id) || this.view.state.messages.some(({ run_id }) => run_id === id);
    if (!follower.current && !signal.aborted && runs.some(({ run_id }) => !isShown(run_id))) void this.load();
  }

  /** Tries at once to load a session that could not be loaded. */
  wake(): void {
    this.endRest();
  }

  /** Shows the session. If the service can't be reached, the page stays as it is until it can. */
  async load(): Promise<void> {
    const { sessionId, follower } = this;
    if (sessionId === undefined || !this.isOpen) return;
    this.loading.abort();
    const { signal } = (this.loading = new AbortController());
    const stored = await this.persist(sessionId, signal);
    if (!stored || signal.aborted) return;
    this.tree = new SessionTree(stored);
    this.view.change((state) => ({ ...this.withStored(state), history: { isLoaded: true, error: null } }));
    if (follower.current) return;
    const unfinished = this.shownRuns().find((runId) => this.isUnderWay(runId));
    if (unfinished === undefined) return;
    const { error } = this.view.state;
    const isInTheWay = error?.code === "session_busy"; // this error stays on the page
    const isOurs = follower.latest?.id === unfinished && follower.latest.isOurs;
    const run = new FollowedRun({ id: unfinished, isOurs });
    void follower.follow(follower.begin(run, { error: isInTheWay ? error : null }));
  }

  /** Whether a question did not reach the service, or the service doesn't have its run in the session. */
  isMissing(runId: string): boolean {
    const { latest } = this.follower;
    return runId === "" ? !latest?.isOver : latest?.id === runId && latest.isGone;
  }

  private isUnderWay(runId: string): boolean {
    const { latest } = this.follower;
    return this.tree.of(runId).some(isUnfinished) && !(latest?.id === runId && latest.isOver);
  }

  /** The runs of the branch that is shown: with the chosen run, with the run that is followed, or else the latest. */
  private shownRuns(): string[] {
    const followed = this.follower.current?.id ?? "";
    const runId = this.chosen ?? (this.tree.has(followed) ? followed : this.tree.latest());
    return runId === undefined ? [] : this.tree.branch(runId);
  }

  /** The stored branch, with a question that the service doesn't have and an answer under way. */
  private withStored(state: RunState): RunState {
    const shown = this.shownRuns();
    const stored = conversation(this.tree, shown, this.follower.read);
    const isKept = ({ run_id }: Message) => run_id !== "" && !this.tree.has(run_id) && this.isMissing(run_id);
    const messages = this.withUnsent(withKept(stored, state.messages, isKept), state.messages);
    const loaded = { ...state, messages };
    const answer = answerOf(state, state.runId);
    const isLeftOut = answer && shown.includes(answer.run_id) && !answerOf(loaded, state.runId);
    const { messages: all } = isLeftOut ? withAnswer(loaded, answer) : loaded;
    return { ...loaded, messages: withShown(all, state.messages) };
  }

  /** The messages with the question that has not arrived yet, in its place. */
  private withUnsent(messages: Message[], shown: Message[]): Message[] {
    const { latest } = this.follower;
    const question = shown.find(({ message_id }) => message_id === latest?.key);
    return latest?.isUnsent && latest.asked && question ? withQuestion(messages, question, latest.asked) : messages;
  }

  /** Loads the session's messages, however long the service can't be reached. Resolves with null if that is useless. */
  private async persist(sessionId: string, signal: AbortSignal): Promise<SessionMessage[] | null> {
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        return await this.storedMessages(sessionId, signal);
      } catch (cause) {
        if (signal.aborted) break;
        const { error, isFinal } = failureOf(cause, this.service.url);
        this.view.change((state) => ({ ...state, history: { ...state.history, error } }));
        if (isFinal) break;
        await pause((error.retry_after ?? 0) * 1000, signal);
        await rest(retryDelay(failures), signal, (end) => (this.endRest = end));
      }
    }
    return null;
  }

  /** The messages of all branches. A session that has no question yet has none. */
  private async storedMessages(sessionId: string, signal: AbortSignal): Promise<SessionMessage[]> {
    const isEmpty = this.tree.latest() === undefined;
    if (isEmpty && (await this.latestRuns(sessionId, signal)).length === 0) return []; // its messages would be a 404
    const messages: SessionMessage[] = [];
    const query = new URLSearchParams({ tree: "true", limit: "200" });
    for (;;) {
      const path = `/api/agent/sessions/${encodeURIComponent(sessionId)}/messages?${query}`;
      const response = await this.service.request(path, { signal });
      if (response.status === 404) return []; // it has been deleted
      if (!response.ok) throw await refusal(response);
      const page = parse<MessageList>(await response.text());
      messages.push(...page.messages);
      if (page.next_cursor === undefined) return messages;
      query.set("cursor", page.next_cursor);
    }
  }

  private async latestRuns(sessionId: string, signal: AbortSignal): Promise<RunList["runs"]> {
    const path = `/api/agent/runs?${new URLSearchParams({ session_id: sessionId, limit: "1" })}`;
    const response = await this.service.request(path, { signal });
    if (!response.ok) throw await refusal(response);
    const { runs = [] } = (await response.json()) as Partial<RunList>;
    return runs;
  }
}

/** The stored messages with those of the page that are kept: each behind the message that it follows on the page. */
function withKept(stored: Message[], shown: Message[], isKept: (message: Message) => boolean): Message[] {
  const messages = [...stored];
  shown.forEach((message, place) => {
    if (!isKept(message)) return;
    const before = shown[place - 1];
    const found = messages.findLastIndex(({ run_id }) => run_id === before?.run_id);
    messages.splice(before && found < 0 ? messages.length : found + 1, 0, message);
  });
  return messages;
}
