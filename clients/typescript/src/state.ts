/* What a page shows: the conversation and its run. */

import type { Complete, Content, EventData, PendingBudget, RunStatus, Source, ToolSource, Usage } from "./contract";
import type { AgentError } from "./failures";
import { partialJson } from "./partial_json";

/** `stopping` is the time between `stop()` and the service's confirmation. */
export type AgentStatus =
  "idle" | "connecting" | "streaming" | "waiting" | "reconnecting" | "stopping" | Complete["status"];

/**
 * A tool call so far. `arguments` is set once the call is complete, `result` once it has ended. The arguments are the model's;
 * `madeWith` returns those that the call is made with. Show `arguments_text`, because JavaScript rounds numbers in `arguments`.
 */
export interface ToolCall {
  tool_call_id: string;
  name: string;
  source: ToolSource;
  server?: string;
  arguments_text: string;
  arguments?: Record<string, unknown>;
  /** The person's decision is due by `expires_at`. */
  approval_request?: EventData["approval_request"];
  approval_response?: EventData["approval_response"];
  progress?: EventData["tool_progress"];
  result?: EventData["tool_result"];
}

/** A call that the run waits for: answered by `approve` or `refuse`, or by `sendToolResult` or `clientTools`. */
export interface PendingCall {
  tool_call_id: string;
  name: string;
  kind: "approval" | "client";
  arguments: Record<string, unknown>;
  /** The JSON of `arguments` with every digit: what a person has to see. */
  arguments_text: string;
  /** When the service refuses an approval by itself: UTC, RFC 3339. */
  expires_at?: string;
}

/** A piece of an answer. */
export type Part =
  { type: "thinking"; text: string } | { type: "text"; text: string } | { type: "tool_call"; call: ToolCall };

/** A question, or the whole answer of a run, which may still be under way. */
export interface Message {
  message_id: string;
  /** Empty for a question until the service has accepted it. */
  run_id: string;
  role: "user" | "assistant";
  /** The question's content, or the text of the answer's last model turn so far. */
  content: Content | null;
  /** The pieces of an answer, in order. A question has none. */
  parts: Part[];
  /** While the run is under way: how many of the parts are of earlier model turns. A restarted turn keeps only these. */
  earlier_parts?: number;
  /** The web pages that an answer cites, each once. Absent if there are none. */
  sources?: Source[];
  /** While the run is under way: how many of the sources are of earlier model turns. */
  earlier_sources?: number;
  /** The value of an answer to a question with an `output_schema`, once it was checked. */
  data?: unknown;
  /** The JSON of `data` with every digit: JavaScript rounds numbers in `data`. */
  data_text?: string;
  /** The number of answers until one matched the `output_schema`. */
  attempts?: number;
  /** The model that the latest model turn of an answer is from. */
  answered_by?: string;
  status: RunStatus;
  error?: AgentError;
  /** The last event of an answer that this page has read: its usage, steps and durations. */
  complete?: Complete;
  /** The runs with other versions of this question or of its answer, and the place of this one among them. */
  branches?: { runIds: string[]; index: number };
}

/** How much of the session is known. */
export interface History {
  /** Whether the session's messages were loaded. Until then, nothing can be said about a session without messages. */
  isLoaded: boolean;
  /** Why they can't be loaded for now. They are loaded as soon as the service can be reached again. */
  error: AgentError | null;
}

export interface RunState {
  /** The session's conversation. Without a session, the latest question and its answer. */
  messages: Message[];
  status: AgentStatus;
  runId: string | null;
  /** Whether this page makes the calls of its tools, because it asked the question or attached itself to the run. */
  isOurs: boolean;
  /** The calls that the run waits for. */
  pending: PendingCall[];
  /** The budget, while the run waits for a larger one: answered by `raiseBudget` or `refuseBudget`. */
  budget: PendingBudget | null;
  /**
   * Why the run failed; while `status` is `connecting` or `reconnecting`, why the service can't be reached; while it is
   * `waiting`, why an answer has not arrived. It is sent until it does.
   */
  error: AgentError | null;
  /** The tokens that the run has used, once it has ended. */
  usage?: Usage;
  history: History;
}

/** The state before the first question. `fold` begins with it to show a stored run. */
export const IDLE: RunState = {
  messages: [],
  status: "idle",
  runId: null,
  isOurs: false,
  pending: [],
  budget: null,
  error: null,
  history: { isLoaded: false, error: null },
};

const answerId = (runId: string) => `${runId}/answer`;

export function emptyAnswer(runId: string): Message {
  return { message_id: answerId(runId), run_id: runId, role: "assistant", content: null, parts: [], status: "running" };
}

/** The answer of a run, if there is one. */
export function answerOf({ messages }: RunState, runId: string | null): Message | undefined {
  return runId === null ? undefined : messages.findLast(({ message_id }) => message_id === answerId(runId));
}

/** The state with a new version of a run's answer. The run's other messages stay before it and get its status. */
export function withAnswer(state: RunState, answer: Message): RunState {
  const { run_id, status } = answer;
  const messages = state.messages
    .filter(({ message_id }) => message_id !== answer.message_id)
    .map((message) => (message.run_id === run_id && message.status !== status ? { ...message, status } : message));
  const place = messages.findLastIndex((message) => message.run_id === run_id) + 1;
  messages.splice(place || messages.length, 0, answer);
  return { ...state, messages };
}

/** The state with this status of a question that has no answer yet. */
export function withoutAnswer(state: RunState, questionId: string, status: RunStatus): RunState {
  const messages = state.messages.map((message) =>
    message.message_id === questionId ? { ...message, status } : message,
  );
  return { ...state, messages };
}

/** The tool calls among the pieces of an answer. */
export function callsIn(parts: Part[]): ToolCall[] {
  return parts.flatMap((part) => (part.type === "tool_call" ? [part.call] : []));
}

/** Returns the JSON of the arguments that a call is made with: a person's, if they were changed, or else the model's. */
export function madeWith({ arguments_text, approval_response }: ToolCall): string {
  return approval_response?.arguments_text ?? arguments_text;
}

/** Whether the run waits for answers to calls, or for a larger budget. */
export function isWaiting({ pending, budget }: Pick<RunState, "pending" | "budget">): boolean {
  return pending.length > 0 || budget !== null;
}

/** Whether a run, or the run of a message, has not ended. */
export function isUnfinished({ status }: { status: RunStatus }): boolean {
  return status === "queued" || status === "running" || status === "waiting";
}

/** A message's content as text, with the URLs of its images. */
export function textOf(content: Content): string {
  if (typeof content === "string") return content;
  return content.map((part) => (part.type === "text" ? part.text : part.url)).join("\n");
}

/** A value that is still being written: members may be missing. */
export type PartialData<T> = T extends object ? { [Key in keyof T]?: PartialData<T[Key]> } : T;

/** The run of a state in brief. `T` is the type of an answer to a question with an `output_schema`. */
export interface LatestAnswer<T = unknown> {
  /** Whether a run is under way, or waits, and was not stopped. */
  isStreaming: boolean;
  /** The reasoning in the answer of `runId`. */
  thinking: string;
  /** The text of the model's last turn so far. At the end, it is the whole answer. */
  output: string;
  /** The tool calls in the answer of `runId`. */
  toolCalls: ToolCall[];
  /** The web pages that the answer of `runId` cites. */
  sources: Source[];
  /** The value of the answer, once it was checked against the `output_schema`. Undefined before. */
  data: T | undefined;
  /** As much of the value as has been written, not checked, and at the end `data`. */
  partial: PartialData<T> | undefined;
}

const UNDER_WAY: readonly AgentStatus[] = ["connecting", "streaming", "waiting", "reconnecting"];

/** Returns the run of a state in brief. */
export function latestAnswer<T = unknown>(state: RunState): LatestAnswer<T> {
  const { parts = [], content, sources = [], data } = answerOf(state, state.runId) ?? {};
  const output = textOf(content ?? "");
  return {
    isStreaming: UNDER_WAY.includes(state.status),
    thinking: parts.map((part) => (part.type === "thinking" ? part.text : "")).join(""),
    output,
    toolCalls: callsIn(parts),
    sources,
    data: data as T | undefined,
    partial: (data === undefined ? partialJson(output) : data) as PartialData<T> | undefined,
  };
}
