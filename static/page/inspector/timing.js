/* The times of a run, from its frames. A frame is { event, bytes, receivedAt }. Times are in ms since the run began, by the
   service's clock, so a lost connection doesn't change them. */

const times = new WeakMap(); // a run of 10,000 events is measured several times a second

/** Returns the time of an event, in ms since 1970. */
export function timeOf(event) {
  if (!times.has(event)) times.set(event, Date.parse(event.timestamp));
  return times.get(event);
}

/** Returns the present time of a run under way: the last event's time, and what has passed here since it arrived. */
export function nowOf(frames, clockMs) {
  const last = frames.at(-1);
  if (!last) return 0;
  const seen = timeOf(last.event) - timeOf(frames[0].event);
  return last.event.event === "complete" ? seen : seen + Math.max(0, clockMs - last.receivedAt);
}

/**
 * Returns the spans of a run in the order of their starts: its steps, tool calls and waits. `end` is null for a span that is
 * under way. `first` is the time of a step's first token.
 */
export function spansOf(frames) {
  const spans = [];
  const open = new Map();
  const begin = (key, span) => {
    spans.push(span);
    open.set(key, span);
  };
  const end = (key, change) => {
    if (open.has(key)) Object.assign(open.get(key), change);
    open.delete(key);
  };
  const start = frames.length > 0 ? timeOf(frames[0].event) : 0;
  for (const { event } of frames) follow(event, timeOf(event) - start, { open, begin, end });
  return spans;
}

function follow({ event, data }, at, { open, begin, end }) {
  switch (event) {
    case "step_started":
      begin("step", { kind: "step", name: `Step ${data.step}`, start: at, end: null, first: null, failed: false });
      break;
    case "thinking":
    case "partial_output":
    case "tool_use_delta":
      if (open.has("step")) open.get("step").first ??= at;
      break;
    case "tool_use":
      begin(data.tool_call_id, { kind: "tool", name: data.name, start: at, end: null, first: null, failed: false });
      break;
    case "tool_result":
      end(data.tool_call_id, { end: at, failed: data.is_error });
      endWait(at, data.tool_call_id, { open, end });
      break;
    case "waiting":
      begin("wait", { kind: "wait", name: "Waiting", start: at, end: null, first: null, failed: false });
      open.set("pending", new Set(data.pending.map((call) => call.tool_call_id)));
      break;
    case "approval_response":
      endWait(at, data.tool_call_id, { open, end });
      break;
    case "step_finished":
      end("step", { end: at });
      break;
    case "complete":
      open.delete("pending");
      for (const key of [...open.keys()]) end(key, { end: at, failed: data.status === "failed" });
  }
}

/** A wait ends with the last answer. */
function endWait(at, callId, { open, end }) {
  const pending = open.get("pending");
  if (!pending?.delete(callId) || pending.size > 0) return;
  open.delete("pending");
  end("wait", { end: at });
}
