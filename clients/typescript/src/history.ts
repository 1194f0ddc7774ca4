/* The messages of a session, as questions and whole answers. */

import type { SessionMessage } from "./contract";
import { emptyAnswer, isUnfinished, textOf } from "./state";
import type { Message, Part, ToolCall } from "./state";

/** The conversation. An answer that this page has read stays unchanged, because the service doesn't store all of it. */
export function conversation(stored: SessionMessage[], read: ReadonlyMap<string, Message>): Message[] {
  const runs = new Map<string, SessionMessage[]>();
  for (const message of stored) runs.set(message.run_id, [...(runs.get(message.run_id) ?? []), message]);
  return [...runs].flatMap(([runId, ofRun]) => {
    const questions = ofRun.filter(({ role }) => role === "user");
    const shown = questions.map(({ message_id, content, status }): Message => {
      return { message_id, run_id: runId, role: "user", content, parts: [], status };
    });
    const last = ofRun.at(-1);
    return last && !isUnfinished(last) ? [...shown, read.get(runId) ?? storedAnswer(ofRun, last)] : shown;
  });
}

/** The answer of a run that has ended, from its messages. A run that failed early has only its question. */
function storedAnswer(ofRun: SessionMessage[], { run_id, status, error }: SessionMessage): Message {
  const said = ofRun.filter(({ role }) => role === "assistant");
  return {
    ...emptyAnswer(run_id),
    content: said.at(-1)?.content ?? null,
    parts: said.flatMap(storedParts),
    status,
    ...(error && { error }),
  };
}

function storedParts({ thinking, content, tool_calls = [] }: SessionMessage): Part[] {
  const text = content === null ? "" : textOf(content);
  return [
    ...(thinking ? [{ type: "thinking", text: thinking } as const] : []),
    ...(text ? [{ type: "text", text } as const] : []),
    ...tool_calls.map((call) => ({ type: "tool_call", call: storedCall(call) }) as const),
  ];
}

function storedCall(stored: NonNullable<SessionMessage["tool_calls"]>[number]): ToolCall {
  const { result, is_error = false, source = "python", ...call } = stored;
  const { tool_call_id, name } = call;
  return {
    ...call,
    source,
    arguments_text: JSON.stringify(call.arguments),
    ...(result !== undefined && { result: { tool_call_id, name, content: result, is_error, truncated: false } }),
  };
}
