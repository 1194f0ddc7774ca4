"use client";

import { Conversation, type ConversationOptions, type LatestAnswer, latestAnswer, type RunState } from "agent-stream";
import { useEffect, useState, useSyncExternalStore } from "react";

type Actions = Pick<
  Conversation,
  "stream" | "attach" | "reconnect" | "regenerate" | "stop" | "approve" | "refuse" | "sendToolResult" | "showBranch"
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
  const { stream, attach, reconnect, regenerate, stop, approve, refuse, sendToolResult, showBranch } = conversation;
  const actions = { stream, attach, reconnect, regenerate, stop, approve, refuse, sendToolResult, showBranch };
  return { ...state, ...latestAnswer<T>(state), ...actions };
}

export {
  callsIn,
  Conversation,
  explain,
  fold,
  isUnfinished,
  latestAnswer,
  madeWith,
  partialJson,
  prettyJson,
  RunFailed,
  textOf,
} from "agent-stream";
export type * from "agent-stream";
