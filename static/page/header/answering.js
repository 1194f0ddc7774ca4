/** What answers the latest question, where it isn't the model that the header has chosen. */

import { isUnfinished } from "agent-stream";

import { useFacts } from "../chat/facts.js";
import { useConversationPart } from "../conversation.js";
import { isScript } from "./models.js";

/**
 * Returns `{ model, isUnderWay }` of the latest answer if a script, a substitute or a fallback has given it, and null if the model
 * `next` has, which gets the next question.
 */
export function useOtherModel(next) {
  const answer = useConversationPart(({ messages }) => messages.findLast(({ role }) => role === "assistant") ?? null);
  const { model, warnings, restarts } = useFacts(answer?.run_id ?? "");
  if (answer === null || model === null) return null;
  const isSubstitute = warnings.some(({ code }) => code === "model_substituted");
  const isFallback = restarts.some((restart) => restart.model !== undefined);
  const isOther = isScript(model) !== isScript(next) || isSubstitute || isFallback;
  return isOther ? { model, isUnderWay: isUnfinished(answer) } : null;
}
