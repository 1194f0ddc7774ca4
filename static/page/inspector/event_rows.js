/** The rows of the events table: which frames a filter leaves, and which rows of them are in sight. Pure. */

const searched = new WeakMap(); // the text of each event: writing 20,000 events as JSON takes 50 ms

function searchText(event) {
  if (!searched.has(event)) searched.set(event, JSON.stringify(event).toLowerCase());
  return searched.get(event);
}

/** Returns the frames of a kind whose JSON contains a text, each with `gapMs`, the time since the frame before it. */
export function rowsOf(frames, { kind = "", text = "" } = {}) {
  const wanted = text.trim().toLowerCase();
  const rows = [];
  frames.forEach((frame, place) => {
    const { event } = frame;
    if (kind && event.event !== kind) return;
    if (wanted && !searchText(event).includes(wanted)) return;
    const gapMs = place > 0 ? Math.max(0, frame.receivedAt - frames[place - 1].receivedAt) : 0;
    rows.push({ ...frame, gapMs });
  });
  return rows;
}

/** Returns the kinds of events with their numbers, in the order in which they first came. */
export function kindsOf(frames) {
  const kinds = new Map();
  for (const { event } of frames) kinds.set(event.event, (kinds.get(event.event) ?? 0) + 1);
  return [...kinds].map(([kind, count]) => ({ kind, count }));
}

const SPARE_ROWS = 8; // above and below, so that scrolling doesn't show an empty edge

/**
 * Returns the rows to render, from `first` up to but not including `end`. Heights are in pixels. `slots` is the number of
 * elements for them: a row whose place is the same modulo `slots` takes over the element of the one that left the sight,
 * because making elements is what scrolling costs (60 screens: 1,040 ms of CPU, and 630 with slots).
 */
export function rowsInSight({ count, scrollTop, height, rowHeight }) {
  const first = Math.max(0, Math.floor(scrollTop / rowHeight) - SPARE_ROWS);
  const end = Math.min(count, Math.ceil((scrollTop + height) / rowHeight) + SPARE_ROWS);
  const slots = Math.ceil(height / rowHeight) + 1 + 2 * SPARE_ROWS;
  return { first: Math.min(first, count), end, slots };
}

const LONGEST_SUMMARY = 160;

function totalsOf({ max_total_tokens: tokens, max_cost_usd: amount }) {
  return [...(tokens === undefined ? [] : [`${tokens} tokens`]), ...(amount === undefined ? [] : [`$${amount}`])];
}

/** Returns an event's data in a few words. */
export function summaryOf({ event, data }) {
  const texts = {
    thinking: () => data.content,
    partial_output: () => data.content,
    final_output: () => data.content,
    tool_use_delta: () => `${data.name} ${data.arguments_delta}`,
    tool_use: () => `${data.name} ${data.arguments_text}`,
    approval_request: () => `${data.name} ${data.arguments_text}`,
    approval_response: () => (data.approved ? "approved" : `denied ${data.reason ?? ""}`),
    tool_progress: () => [data.message, data.total && `${data.progress}/${data.total}`].filter(Boolean).join(" "),
    tool_result: () => `${data.is_error ? "error: " : ""}${data.content}`,
    waiting: () => data.pending.map(({ name, kind }) => (name ? `${name} (${kind})` : kind)).join(", "),
    budget_response: () => (data.approved ? ["raised", ...totalsOf(data)].join(" · ") : "not raised"),
    step_started: () => `step ${data.step} · ${data.model}`,
    source: () => [data.title, data.url].filter(Boolean).join(" · "),
    step_restarted: () => `step ${data.step} · ${[data.reason, data.model].filter(Boolean).join(" · ")}`,
    step_finished: () => `step ${data.step} · ${data.finish_reason}`,
    run_started: () => data.model,
    warning: () => `${data.code}: ${data.message}`,
    error: () => `${data.code}: ${data.message}`,
    complete: () => `${data.status} · ${data.duration_ms} ms`,
  };
  const text = Object.hasOwn(texts, event) ? texts[event]() : JSON.stringify(data);
  return text.length > LONGEST_SUMMARY ? `${text.slice(0, LONGEST_SUMMARY)}…` : text;
}
