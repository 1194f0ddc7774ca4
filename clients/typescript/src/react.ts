"use client";

import { Conversation, type ConversationOptions, isReturned, type LatestAnswer, latestAnswer } from "agent-stream";
import { type Message, type RunState, unsentIn } from "agent-stream";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";

type Actions = Pick<
  Conversation,
  | "stream"
  | "attach"
  | "reconnect"
  | "retry"
  | "regenerate"
  | "stop"
  | "approve"
  | "refuse"
  | "raiseBudget"
  | "refuseBudget"
  | "sendToolResult"
  | "showBranch"
>;

/** The conversation's state, the answer of its latest run, and what the page can do. The functions never change. */
export interface AgentStreamState<T = unknown> extends RunState, LatestAnswer<T>, Actions {}

/**
 * Runs an agent and follows it. Reading ends when the component is removed. `T` is the type of the answers to questions with
 * an `output_schema`.
 */
export function useAgentStream<T = unknown>(options: ConversationOptions = {}): AgentStreamState<T> {
  const [conversation] = useState(() => new Conversation(options));
  const state = useSyncExternalStore(conversation.subscribe, conversation.get, conversation.get);
  useEffect(() => conversation.configure(options));
  useEffect(() => conversation.mount(), [conversation, options.baseUrl, options.storageKey, options.sessionId]);
  const { stream, attach, reconnect, retry, regenerate, stop, showBranch } = conversation;
  const { approve, refuse, raiseBudget, refuseBudget, sendToolResult } = conversation;
  const actions = { stream, attach, reconnect, retry, regenerate, stop, showBranch };
  const answers = { approve, refuse, raiseBudget, refuseBudget, sendToolResult };
  return { ...state, ...latestAnswer<T>(state), ...actions, ...answers };
}

/** Calls `giveBack` with a question of the conversation that has not arrived and never will: it was stopped or refused. */
export function useReturned(messages: Message[], giveBack: (question: Message) => void): void {
  const latest = useRef<Message | null>(null);
  useEffect(() => {
    const sent = latest.current;
    latest.current = unsentIn(messages);
    if (isReturned(sent, messages)) giveBack(sent);
  }, [messages]);
}

export {
  callsIn,
  Conversation,
  explain,
  fold,
  isReturned,
  isUnfinished,
  isWaiting,
  latestAnswer,
  madeWith,
  partialJson,
  prettyJson,
  RunFailed,
  textOf,
  unsentIn,
} from "agent-stream";
export type * from "agent-stream";
