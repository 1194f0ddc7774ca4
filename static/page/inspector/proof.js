/** The proof that a fault has lost nothing: the events that the page received, held against the service's log. */

const textOf = (events) =>
  events.map(({ event, data }) => (event === "partial_output" ? data.content : "")).join("");

/**
 * Returns the checks, each with its title, whether it holds, and the facts. `received` are the events in the order in which
 * the page received them, and `stored` those of the run's log.
 */
export function proofOf(received, stored) {
  const seqs = received.map(({ seq }) => seq);
  const known = new Set(seqs);
  const missing = stored.map(({ seq }) => seq).filter((seq) => !known.has(seq));
  const doubled = seqs.filter((seq) => !known.delete(seq));
  const isInOrder = seqs.every((seq, place) => seq === place + 1);
  const changed = stored.filter((event, place) => JSON.stringify(event) !== JSON.stringify(received[place]));
  const [text, storedText] = [textOf(received), textOf(stored)];
  return [
    {
      title: "Nothing lost",
      holds: missing.length === 0 && isInOrder,
      facts: missing.length > 0 ? `missing: ${some(missing)}` : `events 1–${seqs.length}, in order, no gaps`,
    },
    {
      title: "No duplicates",
      holds: doubled.length === 0,
      facts: doubled.length > 0 ? `received twice: ${some(doubled)}` : `${seqs.length} events, each once`,
    },
    {
      title: "Nothing changed",
      holds: changed.length === 0 && stored.length === received.length,
      facts: `${stored.length - changed.length} of ${stored.length} events match the stored log`,
    },
    {
      title: "Same text",
      holds: text === storedText,
      facts: `${text.length} of ${storedText.length} characters received`,
    },
  ];
}

const some = (seqs) => (seqs.length > 5 ? `${seqs.slice(0, 5).join(", ")} …` : seqs.join(", "));
