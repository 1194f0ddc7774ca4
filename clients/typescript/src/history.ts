/* The messages of a session, as questions and whole answers. */

import type { FunctionCall, SessionMessage } from "./contract";
import type { SessionTree } from "./session_tree";
import { emptyAnswer, isUnfinished, textOf } from "./state";
import type { Message, Part, ToolCall } from "./state";

/** The messages of these runs. An answer that this page has read stays unchanged: the service doesn't store all of it. */
export function conversation(tree: SessionTree, runIds: string[], read: ReadonlyMap<string, Message>): Message[] {
  return runIds.flatMap((runId) => {
    const ofRun = tree.of(runId);
    const runIds = tree.versions(runId);
    const branches = runIds.length > 1 && { branches: { runIds, index: runIds.indexOf(runId) } };
    const questions = ofRun.filter(({ role }) => role === "user");
    const shown = questions.map(({ message_id, content, status }): Message => {
      return { message_id, run_id: runId, role: "user", content, parts: [], status, ...branches };
    });
    const last = ofRun.at(-1);
    return last && !isUnfinished(last) ? [...shown, read.get(runId) ?? storedAnswer(ofRun, last)] : shown;
  });
}

/** The messages, each as the object that is shown already if it is the same: a page then doesn't render it again. */
export function withShown(messages: Message[], shown: Message[]): Message[] {
  const before = new Map(shown.map((message) => [message.message_id, message]));
  return messages.map((message) => {
    const known = before.get(message.message_id);
    return known && JSON.stringify(known) === JSON.stringify(message) ? known : message;
  });
}

/** The answer of a run that has ended, from its messages. A run that failed early has only its question. */
function storedAnswer(ofRun: SessionMessage[], { run_id, status, answered_by, error }: SessionMessage): Message {
  const said = ofRun.filter(({ role }) => role === "assistant");
  const sources = said.flatMap((message) => message.sources ?? []);
  const { data, data_text, attempts } = said.findLast((message) => message.attempts !== undefined) ?? {};
  return {
    ...emptyAnswer(run_id),
    content: said.at(-1)?.content ?? null,
    parts: said.flatMap(storedParts),
    ...(sources.length > 0 && { sources }),
    ...(attempts !== undefined && { data, attempts }),
    ...(data_text !== undefined && { data_text }),
    ...(answered_by !== undefined && { answered_by }),
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

function storedCall(stored: FunctionCall): ToolCall {
  const { result, is_error = false, source = "python", ...call } = stored;
  const { tool_call_id, name } = call;
  return {
    ...call,
    source,
    ...(result !== undefined && { result: { tool_call_id, name, content: result, is_error, truncated: false } }),
  };
}
