/* Questions: what is sent, and where they stand in the conversation. */

import { type AgentRequest, given, type Loose, type SimulateRequest } from "./contract";
import type { FollowedRun } from "./followed_run";
import type { ClientTool, ConversationOptions } from "./options";
import type { Message } from "./state";

const SIMULATE = "/api/agent/stream/simulate";

/**
 * A question for a conversation. A key that is undefined counts as left out. With a `scenario`, the service plays a script
 * in place of a model's answer.
 */
export type Question = Loose<AgentRequest & Pick<SimulateRequest, "scenario" | "delay_ms">> & Pick<AgentRequest, "input">;

/** The fields of a request that say which run it follows, or which question it takes the place of. */
export type Place = Pick<AgentRequest, "parent_run_id" | "parent_state">;

/** The request that a question makes. `interrupting` says whether it takes the place of a run that was just stopped. */
export function requestOf(options: ConversationOptions, question: string | Question, interrupting: boolean): AgentRequest {
  const asked = typeof question === "string" ? { input: question } : given<AgentRequest>(question);
  return { ...requestDefaults(options, interrupting), ...withTools(options.clientTools), ...asked };
}

/**
 * The fields of a question about its conversation. An answer that can be found again is worth finishing. A run of another
 * page must not be interrupted, even if it has no reader at the moment.
 */
function requestDefaults({ sessionId, storageKey }: ConversationOptions, interrupting: boolean): Partial<AgentRequest> {
  const multitask = interrupting ? "interrupt" : "reject"; // a run that was just stopped needs some time to end
  return {
    ...((sessionId ?? storageKey) !== undefined && { on_disconnect: "continue" }),
    ...(sessionId !== undefined && { session_id: sessionId, multitask }),
  };
}

/** The field of a request that offers the client's own tools. */
export function withTools(tools: Record<string, ClientTool> = {}): Pick<AgentRequest, "client_tools"> {
  const offered = Object.entries(tools);
  if (offered.length === 0) return {};
  return { client_tools: offered.map(([name, { description, parameters }]) => given({ name, description, parameters })) };
}

/** The route that answers a request: the one of the options, or else the one for its kind. */
export function routeOf({ path }: ConversationOptions, asked: AgentRequest | SimulateRequest): string {
  return path ?? ("scenario" in asked ? SIMULATE : "/api/agent/stream");
}

/** The question of a run. Until the run is known, `run_id` is empty. */
export function questionOf({ key, id, asked }: FollowedRun): Message {
  const content = asked?.input ?? null;
  return { message_id: key, run_id: id ?? "", role: "user", content, parts: [], status: "queued" };
}

/** The messages with a question in its place; `conversation` is null without a session. */
export function withQuestion(conversation: Message[] | null, question: Message, asked: Place): Message[] {
  if (!conversation) return [question];
  const { parent_run_id: parent = "", parent_state } = asked;
  const arrived = conversation.filter(({ run_id }) => run_id !== "");
  const runs = arrived.map(({ run_id }) => run_id);
  const place = parent_state === "before" ? runs.indexOf(parent) : runs.lastIndexOf(parent) + 1;
  return [...(runs.includes(parent) ? arrived.slice(0, place) : arrived), question];
}
