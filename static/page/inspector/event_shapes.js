/** The shapes of the events' data: a table of docs/events.md, for run files, which anybody may have written. */

const text = (value) => typeof value === "string";
const number = (value) => typeof value === "number";
const flag = (value) => typeof value === "boolean";
const object = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const optional = (shape) => (value) => value === undefined || shape(value);
const count = (value) => value === null || number(value);
const usage = (value) =>
  object(value) &&
  [value.input_tokens, value.output_tokens, value.total_tokens].every(count) &&
  optional(number)(value.cost_usd);
const isCall = (item) => text(item.tool_call_id) && text(item.name);
const isBudget = ({ kind, spent_tokens, max_total_tokens, spent_cost_usd, max_cost_usd, expires_at }) =>
  kind === "budget" &&
  number(spent_tokens) &&
  text(expires_at) &&
  [max_total_tokens, spent_cost_usd, max_cost_usd].every(optional(number));
const isLater = ({ kind }) => text(kind) && kind !== "budget"; // later versions add kinds
const isPending = (item) => object(item) && (isCall(item) || isBudget(item) || isLater(item));
const pending = (value) => Array.isArray(value) && value.every(isPending);

const CALL = { tool_call_id: text, name: text };
const DECLARED = { ...CALL, source: optional(text), server: optional(text) };

const SHAPES = {
  run_started: { model: text, session_id: optional(text), owner: optional(text) },
  step_started: { step: number, model: text },
  thinking: { content: text },
  partial_output: { content: text },
  tool_use_delta: { ...DECLARED, arguments_delta: text },
  tool_use: { ...DECLARED, arguments: object, invalid_arguments: optional(text) },
  approval_request: { ...CALL, arguments: object, expires_at: text },
  waiting: { pending },
  approval_response: { tool_call_id: text, approved: flag, arguments: optional(object), reason: optional(text) },
  budget_response: { approved: flag, max_cost_usd: optional(number), max_total_tokens: optional(number) },
  tool_progress: {
    tool_call_id: text,
    message: optional(text),
    progress: optional(number),
    total: optional(number),
  },
  tool_result: { ...CALL, content: text, is_error: flag, duration_ms: optional(number), truncated: flag },
  source: { url: text, title: optional(text), snippet: optional(text) },
  step_restarted: { step: number, reason: text, model: optional(text), usage: optional(usage) },
  step_finished: { step: number, model: text, finish_reason: text, usage },
  warning: { code: text, message: text },
  final_output: { content: text, attempts: optional(number) }, // `data` is any value
  error: { code: text, message: text, retryable: flag, request_id: text, retry_after: optional(number) },
  complete: {
    status: (value) => ["succeeded", "failed", "cancelled"].includes(value),
    finish_reason: optional(text),
    usage,
    steps: number,
    duration_ms: number,
    time_to_first_token_ms: optional(number),
  },
};

/** Returns the first key of an event that has the wrong shape, such as "data.content", or null. */
export function wrongKey(event) {
  if (!object(event)) return "event";
  if (!text(event.event)) return "event";
  if (!text(event.run_id)) return "run_id";
  if (!Number.isSafeInteger(event.seq)) return "seq";
  if (!text(event.timestamp) || Number.isNaN(Date.parse(event.timestamp))) return "timestamp";
  if (!object(event.data)) return "data";
  const shape = Object.hasOwn(SHAPES, event.event) ? SHAPES[event.event] : {}; // later versions add events
  const wrong = Object.entries(shape).find(([key, fits]) => !fits(event.data[key]));
  return wrong ? `data.${wrong[0]}` : null;
}
