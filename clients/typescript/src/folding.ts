/* Events in, the state out. */

import type { EventData, PendingBudget, StreamEvent } from "./contract";
import { answerOf, callsIn, emptyAnswer, withAnswer } from "./state";
import type { Message, Part, PendingCall, RunState, ToolCall } from "./state";

/** The state after events of a run. They are folded together, because a copy of the messages for each costs too much. */
export function fold(state: RunState, runId: string, events: StreamEvent[]): RunState {
  const { status, pending, budget, error } = state;
  const before = { answer: answerOf(state, runId) ?? emptyAnswer(runId), status, pending, budget, error };
  const { answer, ...after } = events.reduce(foldEvent, before);
  return withAnswer({ ...state, ...after }, answer);
}

type Progress = Pick<RunState, "status" | "pending" | "budget" | "error" | "usage"> & { answer: Message };

function foldEvent(progress: Progress, event: StreamEvent): Progress {
  const { answer, pending } = progress;
  switch (event.event) {
    case "step_started":
      return { ...progress, answer: withModel(withStep(answer), event.data.model) };
    case "step_restarted":
      return { ...progress, answer: withModel(withRestart(answer), event.data.model) };
    case "step_finished":
      return { ...progress, answer: withModel(answer, event.data.model) };
    case "source":
      return { ...progress, answer: { ...answer, sources: [...(answer.sources ?? []), event.data] } };
    case "thinking":
      return { ...progress, answer: { ...answer, parts: withThinking(answer, event.data.content) } };
    case "partial_output":
      return { ...progress, answer: withMoreText(answer, event.data.content) };
    case "final_output":
      return { ...progress, answer: withValue(withText(answer, event.data.content), event.data) };
    case "tool_use_delta":
    case "tool_use":
    case "approval_request":
    case "tool_progress":
      return { ...progress, answer: withCall(answer, event) };
    case "waiting":
      return {
        ...progress,
        answer: { ...answer, status: "waiting" },
        status: "waiting",
        ...pendingIn(answer, event.data),
      };
    case "budget_response":
      return { ...progress, answer: { ...answer, status: "running" }, status: "streaming", budget: null };
    case "approval_response":
    case "tool_result": {
      const left = pending.filter(({ tool_call_id }) => tool_call_id !== event.data.tool_call_id);
      const goesOn = progress.status === "waiting" && left.length === 0;
      const resumed = goesOn ? ({ ...answer, status: "running" } as const) : answer;
      const status = goesOn ? "streaming" : progress.status;
      return { ...progress, answer: withCall(resumed, event), pending: left, status };
    }
    case "error":
      return { ...progress, answer: { ...answer, error: event.data }, error: event.data };
    case "complete": {
      const { status, usage } = event.data;
      // An error of an earlier connection no longer applies.
      const { earlier_parts: _parts, earlier_sources: _sources, sources, error, ...whole } = answer;
      const isFailed = status === "failed" && error !== undefined;
      const cited = sources?.length && { sources };
      const ended = { ...whole, ...cited, status, complete: event.data, ...(isFailed && { error }) };
      return { answer: ended, status, pending: [], budget: null, error: isFailed ? error : null, usage };
    }
    default:
      return progress;
  }
}

/** The answer with a model turn that begins. */
function withStep(answer: Message): Message {
  const { parts, sources = [] } = answer;
  return { ...answer, content: "", earlier_parts: parts.length, earlier_sources: sources.length };
}

function withModel(answer: Message, model: string | undefined): Message {
  return model === undefined ? answer : { ...answer, answered_by: model };
}

/** The answer without what the present model turn has said so far. */
function withRestart(answer: Message): Message {
  const { parts, earlier_parts = 0, sources = [], earlier_sources = 0 } = answer;
  return { ...answer, content: "", parts: parts.slice(0, earlier_parts), sources: sources.slice(0, earlier_sources) };
}

function withThinking({ parts, earlier_parts }: Message, content: string): Part[] {
  const last = parts.at(-1);
  if (last?.type !== "thinking" || parts.length === earlier_parts) return [...parts, { type: "thinking", text: content }];
  return [...parts.slice(0, -1), { type: "thinking", text: last.text + content }];
}

/** The answer with more text of the current step. Parts since its last piece of text stay before it. */
function withMoreText(answer: Message, more: string): Message {
  const { content, parts } = answer;
  const last = parts.at(-1);
  const isSame = content && last?.type === "text"; // else it is the first of its step, or follows something else
  const part: Part = { type: "text", text: isSame ? last.text + more : more };
  return { ...answer, content: (content ?? "") + more, parts: [...(isSame ? parts.slice(0, -1) : parts), part] };
}

/** The answer with a new text of the current step. */
function withText(answer: Message, text: string): Message {
  if (text === answer.content) return answer;
  const place = answer.content ? answer.parts.findLastIndex(({ type }) => type === "text") : -1;
  const part: Part = { type: "text", text };
  const { parts } = answer;
  if (place >= 0) return { ...answer, content: text, parts: parts.with(place, part) };
  return { ...answer, content: text, parts: text === "" ? parts : [...parts, part] };
}

/** The answer with its value, if the question has an `output_schema`. */
function withValue(answer: Message, { data, data_text, attempts }: EventData["final_output"]): Message {
  return attempts === undefined ? answer : { ...answer, data, attempts, ...(data_text !== undefined && { data_text }) };
}

type ToolEvent = Extract<StreamEvent, { event: `tool_${string}` | `approval_${string}` }>;

function withCall(answer: Message, event: ToolEvent): Message {
  const id = event.data.tool_call_id;
  const { parts } = answer;
  const place = parts.findLastIndex((part) => part.type === "tool_call" && part.call.tool_call_id === id);
  const known = parts[place];
  const before: ToolCall =
    known?.type === "tool_call" ? known.call : { tool_call_id: id, name: "", source: "python", arguments_text: "" };
  const part: Part = { type: "tool_call", call: foldCall(before, event) };
  return { ...answer, parts: known ? parts.with(place, part) : [...parts, part] };
}

function foldCall(call: ToolCall, event: ToolEvent): ToolCall {
  switch (event.event) {
    case "tool_use_delta": {
      const { arguments_delta, ...about } = event.data;
      return { ...call, ...about, arguments_text: call.arguments_text + arguments_delta };
    }
    case "tool_use": {
      const { invalid_arguments, ...about } = event.data;
      return { ...call, ...about, ...(invalid_arguments !== undefined && { arguments_text: invalid_arguments }) };
    }
    case "approval_request":
      return { ...call, approval_request: event.data };
    case "approval_response":
      return { ...call, approval_response: event.data };
    case "tool_progress":
      return { ...call, progress: event.data };
    case "tool_result":
      return { ...call, result: event.data };
  }
}

type PendingItem = EventData["waiting"]["pending"][number];

/** What the run waits for. A kind that this version doesn't know is left out. */
function pendingIn(answer: Message, { pending }: EventData["waiting"]): Pick<RunState, "pending" | "budget"> {
  const calls = pending.flatMap((item) => ("tool_call_id" in item ? [pendingCall(answer, item)] : []));
  return { pending: calls, budget: pending.find((item) => item.kind === "budget") ?? null };
}

function pendingCall({ parts }: Message, call: Exclude<PendingItem, PendingBudget>): PendingCall {
  const known = callsIn(parts).find(({ tool_call_id }) => tool_call_id === call.tool_call_id);
  return {
    ...call,
    arguments: known?.arguments ?? {},
    arguments_text: known?.arguments_text ?? "{}",
    ...(known?.approval_request && { expires_at: known.approval_request.expires_at }),
  };
}
