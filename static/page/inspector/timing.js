/**
 * The times of a run, from its frames. A frame is { event, json, bytes, receivedAt }. Times are in ms since the run began, by the
 * service's clock, so a lost connection doesn't change them.
 */

const BUDGET = "budget"; // its id among those of the calls that a run waits for
const times = new WeakMap(); // a run of 10,000 events is measured several times a second

/** Returns the time of an event, in ms since 1970. */
export function timeOf(event) {
  if (!times.has(event)) times.set(event, Date.parse(event.timestamp));
  return times.get(event);
}

/**
 * Returns the present time of a run: the last event's time, and what has passed here since it arrived. `clockMs` is null for
 * a run that isn't under way here, such as an old record. The time of such a run stands at its last event.
 */
export function nowOf(frames, clockMs) {
  const last = frames.at(-1);
  if (!last) return 0;
  const seen = timeOf(last.event) - timeOf(frames[0].event);
  const stands = clockMs === null || last.event.event === "complete";
  return stands ? seen : seen + Math.max(0, clockMs - last.receivedAt);
}

/**
 * Returns the spans of a run in the order of their starts: its steps, tool calls and waits. `end` is null for a span that is
 * under way. `first` and `last` are the times of a step's first and last tokens. A call that `waits` for an answer got it at `decidedAt`,
 * and ran for `ranMs`, as the service has measured it: null if it has not. `seq` is the event with which a span begins.
 */
export function spansOf(frames) {
  const run = new RunSpans(frames.length > 0 ? timeOf(frames[0].event) : 0);
  for (const { event } of frames) run.take(event);
  return run.spans;
}

/**
 * Returns the time of a span to show. That of a call which has ended is the time that the tool took, as its card in the chat has it:
 * without the wait for an answer. It is null if the service has not measured it.
 */
export function shownMs({ kind, start, end, decidedAt, ranMs }, nowMs) {
  if (kind !== "tool") return (end ?? nowMs) - start;
  return end === null ? nowMs - (decidedAt ?? start) : ranMs;
}

class RunSpans {
  spans = [];
  #start;
  #step = null;
  #wait = null;
  /** The open calls by their ids, and the ids that the wait is for. */
  #calls = new Map();
  #pending = new Set();

  constructor(start) {
    this.#start = start;
  }

  take(event) {
    const at = timeOf(event) - this.#start;
    const { data, seq } = event;
    switch (event.event) {
      case "step_started":
        this.#step = this.#begin("step", `Step ${data.step}`, at, seq);
        break;
      case "thinking":
      case "partial_output":
      case "tool_use_delta":
        this.#write(at);
        break;
      case "tool_use":
        this.#calls.set(data.tool_call_id, this.#begin("tool", data.name, at, seq));
        break;
      case "tool_result":
        this.#answer(data, at);
        this.#finishCall(data, at);
        break;
      case "waiting":
        this.#wait = this.#begin("wait", "Waiting", at, seq);
        this.#pending = new Set(data.pending.map((item) => item.tool_call_id ?? BUDGET));
        this.#suspend();
        break;
      case "approval_response":
        this.#answer(data, at);
        break;
      case "budget_response":
        this.#answer({ tool_call_id: BUDGET }, at);
        break;
      case "step_restarted":
        this.#breakOff(at);
        this.#step = this.#begin("step", `Step ${data.step} (retry)`, at, seq);
        break;
      case "step_finished":
        if (this.#step) this.#step.end = at;
        break;
      case "complete":
        this.#finishAll(data, at);
    }
  }

  #begin(kind, name, start, seq) {
    const times = { start, end: null, first: null, last: null, decidedAt: null, ranMs: null };
    const span = { kind, name, seq, ...times, waits: false, failed: false };
    this.spans.push(span);
    return span;
  }

  #write(at) {
    if (!this.#step) return;
    this.#step.first ??= at;
    this.#step.last = at;
  }

  #finishCall({ tool_call_id: id, is_error: failed, duration_ms: ranMs = null }, at) {
    if (this.#calls.has(id)) Object.assign(this.#calls.get(id), { end: at, failed, ranMs });
    this.#calls.delete(id);
  }

  /** Marks the calls that wait for an answer. */
  #suspend() {
    for (const id of this.#pending) if (this.#calls.has(id)) this.#calls.get(id).waits = true;
  }

  /** A wait ends with the last answer. */
  #answer({ tool_call_id: id }, at) {
    if (!this.#pending.delete(id)) return;
    if (this.#calls.has(id)) this.#calls.get(id).decidedAt = at;
    if (this.#pending.size === 0) this.#wait.end = at;
  }

  /** Ends the attempt of a step, and its calls, which get no results. */
  #breakOff(at) {
    this.#endAll(at, true);
    this.#calls.clear();
  }

  #finishAll({ status }, at) {
    this.#endAll(at, status === "failed");
  }

  #endAll(at, failed) {
    for (const span of this.spans) {
      if (span.end === null) Object.assign(span, { end: at, failed });
    }
  }
}
