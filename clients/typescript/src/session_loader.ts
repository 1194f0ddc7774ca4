import type { SessionMessage } from "./contract";
import { isHidden } from "./environment";
import { FollowedRun } from "./followed_run";
import type { Follower } from "./follower";
import { conversation } from "./history";
import type { Service } from "./service";
import { answerOf, isUnfinished, type Message, type RunState, withAnswer } from "./state";
import type { View } from "./view";

/** Loads the session as the service has stored it, and follows a run of it that is under way. */
export class SessionLoader {
  private readonly service: Service;
  private readonly view: View;
  private readonly follower: Follower;
  private loading = new AbortController();

  constructor(service: Service, view: View, follower: Follower) {
    this.service = service;
    this.view = view;
    this.follower = follower;
  }

  private get sessionId(): string | undefined {
    return this.service.options.sessionId;
  }

  /** Drops what is being loaded. */
  stop(): void {
    this.loading.abort();
  }

  /** Checks for a question of another page in the session. */
  async look(): Promise<void> {
    const { sessionId, follower } = this;
    if (sessionId === undefined || follower.current || isHidden()) return;
    const path = `/api/agent/runs?${new URLSearchParams({ session_id: sessionId, limit: "1" })}`;
    const { signal } = this.loading;
    const response = await this.service.request(path, { signal }).catch(() => null);
    if (!response?.ok) return;
    const { runs } = (await response.json().catch(() => ({ runs: [] }))) as { runs: { run_id: string }[] };
    const isShown = (id: string) => this.view.state.messages.some(({ run_id }) => run_id === id);
    if (!follower.current && !signal.aborted && runs.some(({ run_id }) => !isShown(run_id))) void this.load();
  }

  /** Shows the session. If the service can't be reached, the page stays as it is. */
  async load(): Promise<void> {
    const { sessionId, follower } = this;
    if (sessionId === undefined) return;
    this.loading.abort();
    const { signal } = (this.loading = new AbortController());
    const stored = await this.storedMessages(sessionId, signal).catch(() => null);
    if (!stored || signal.aborted) return;
    this.view.change((state) => this.withStored(state, stored));
    if (follower.current) return;
    const unfinished = stored.find((message) => isUnfinished(message) && !this.isKnownOver(message.run_id));
    if (!unfinished) return;
    const { error } = this.view.state;
    const isInTheWay = error?.code === "session_busy"; // this error stays on the page
    const run = new FollowedRun({ id: unfinished.run_id, isOurs: false });
    void follower.follow(follower.begin(run, { error: isInTheWay ? error : null }));
  }

  /** Whether a question did not reach the service, or the service doesn't have its run in the session. */
  isMissing(runId: string): boolean {
    const { latest, scripted } = this.follower;
    return runId === "" ? !latest?.isOver : scripted.has(runId) || (latest?.id === runId && latest.isGone);
  }

  private isKnownOver(runId: string): boolean {
    const { latest } = this.follower;
    return latest?.id === runId && latest.isOver;
  }

  /** The stored conversation, with a question that the service doesn't have and an answer under way. */
  private withStored(state: RunState, stored: SessionMessage[]): RunState {
    const messages = conversation(stored, this.follower.read);
    const known = new Set(messages.map(({ run_id }) => run_id));
    const isKept = ({ run_id }: Message) => !known.has(run_id) && this.isMissing(run_id);
    const loaded = { ...state, messages: withKept(messages, state.messages, isKept) };
    const answer = answerOf(state, state.runId);
    return answer && known.has(answer.run_id) && !answerOf(loaded, state.runId) ? withAnswer(loaded, answer) : loaded;
  }

  private async storedMessages(sessionId: string, signal: AbortSignal): Promise<SessionMessage[] | null> {
    const messages: SessionMessage[] = [];
    const query = new URLSearchParams({ limit: "200" });
    for (;;) {
      const path = `/api/agent/sessions/${encodeURIComponent(sessionId)}/messages?${query}`;
      const response = await this.service.request(path, { signal });
      if (response.status === 404) return []; // the session has no question yet
      if (!response.ok) return null;
      const page = (await response.json()) as { messages: SessionMessage[]; next_cursor?: string };
      messages.push(...page.messages);
      if (page.next_cursor === undefined) return messages;
      query.set("cursor", page.next_cursor);
    }
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
