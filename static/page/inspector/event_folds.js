/** Folds runs of deltas in the list of events: an answer of 10,000 pieces is one row. Pure. */

/** The kinds of events that are folded, in words. */
const DELTAS = { thinking: "thinking", partial_output: "text", tool_use_delta: "argument" };
const FEWEST = 3; // a row instead of two spares nothing
const LONGEST_TEXT = 160; // characters of the pieces that a fold shows

/**
 * Returns the rows of the table: those of `rows`, and a fold in front of each run of deltas of one kind. A fold is `{ fold, seq,
 * last, title, text, bytes, gapMs, isOpen }`, where `fold` is the kind. Its rows follow only if `isOpen(seq, last)`.
 */
export function foldedRows(rows, isOpen) {
  const entries = [];
  let start = 0;
  while (start < rows.length) {
    const end = endOfRun(rows, start);
    const run = rows.slice(start, end);
    const fold = run.length >= FEWEST ? foldOf(run, isOpen) : null;
    if (fold) entries.push(fold);
    if (!fold || fold.isOpen) for (const row of run) entries.push(row);
    start = end;
  }
  return entries;
}

/** Returns the place after the last row that belongs to the same run of deltas as the row at `start`. */
function endOfRun(rows, start) {
  const { event, data } = rows[start].event;
  const isSame = (row) => row.event.event === event && row.event.data.tool_call_id === data.tool_call_id;
  let end = start + 1;
  if (!Object.hasOwn(DELTAS, event)) return end;
  while (end < rows.length && isSame(rows[end])) end += 1;
  return end;
}

function foldOf(run, isOpen) {
  const { event: fold, seq } = run[0].event;
  const last = run.at(-1).event.seq;
  const title = `${run.length.toLocaleString("en")} ${DELTAS[fold]} deltas`;
  const bytes = run.reduce((sum, row) => sum + row.bytes, 0);
  return { fold, seq, last, title, text: textOf(run), bytes, gapMs: run[0].gapMs, isOpen: isOpen(seq, last) };
}

/** Returns the beginning of what the deltas say together. */
function textOf(run) {
  let text = "";
  for (const { event } of run) {
    if (text.length > LONGEST_TEXT) return `${text.slice(0, LONGEST_TEXT)}…`;
    text += event.data.content ?? event.data.arguments_delta;
  }
  return text;
}
