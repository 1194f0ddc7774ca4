/** The tab Events: each event as it comes, with a filter, and the JSON of one. Runs of deltas are folded. */

import { useMemo, useState } from "preact/hooks";

import { html } from "../html.js";
import { navigate } from "../route.js";
import { useStore } from "../store.js";
import { useAtMostEvery } from "./clock.js";
import { Empty } from "./empty.js";
import { EventDetail } from "./event_detail.js";
import { foldedRows } from "./event_folds.js";
import { kindsOf, rowsOf } from "./event_rows.js";
import { EventTable } from "./event_table.js";
import { useShownRun } from "./shown_run.js";

const CALM_MS = 100;
const NONE = new Set();

export function EventsTab() {
  const { runId, frames: latest, error, isReplay } = useShownRun();
  const frames = useAtMostEvery(CALM_MS, latest);
  const seq = useStore((state) => state.route.seq);
  const [filter, setFilter] = useState({ kind: "", text: "" });
  const kinds = useMemo(() => kindsOf(frames), [frames]);
  const rows = useMemo(() => rowsOf(frames, filter), [frames, filter]);
  const seqs = useMemo(() => rows.map(({ event }) => event.seq), [rows]);
  const [isFolding, setFolding] = useState(true);
  const [opened, setOpened] = useState(NONE);
  const isFiltered = filter.kind !== "" || filter.text.trim() !== "";
  const isOpen = (first, last) => opened.has(first) || (seq !== null && first <= seq && seq <= last);
  const shown = isFolding && !isFiltered ? foldedRows(rows, isOpen) : rows;
  const select = (chosen) => {
    const tab = chosen === null ? "events" : null; // an event has this tab without its name
    navigate({ ...(!isReplay && { run: runId }), seq: chosen, tab }, { replace: true });
  };
  const fold = (first, last, wasOpen) => {
    setOpened(wasOpen ? opened.difference(new Set([first])) : opened.union(new Set([first])));
    if (wasOpen && first <= seq && seq <= last) select(null); // a fold with the selected event stays open
  };
  if (frames.length === 0) return html`<${Empty} error=${error} />`;
  const place = frames.findIndex(({ event }) => event.seq === seq);
  return html`
    <div class="events-view">
      <${Filter} kinds=${kinds} filter=${filter} setFilter=${setFilter} />
      <div class="spread tiny muted">
        <p role="status">${rows.length === frames.length ? `${rows.length} events` : `${rows.length} of ${frames.length} events`}</p>
        <label class="fold-choice">
          <input type="checkbox" checked=${isFolding} disabled=${isFiltered} onChange=${({ target }) => setFolding(target.checked)} />
          Fold deltas
        </label>
      </div>
      <${EventTable} rows=${shown} seqs=${seqs} selected=${seq} onSelect=${select} onFold=${fold} />
      ${place >= 0 && html`<${EventDetail} frame=${frames[place]} before=${frames[place - 1]} onClose=${() => select(null)} />`}
    </div>
  `;
}

function Filter({ kinds, filter, setFilter }) {
  const change = (patch) => setFilter({ ...filter, ...patch });
  return html`
    <div class="event-filter">
      <input
        type="search"
        placeholder="Filter by text"
        aria-label="Filter by text"
        value=${filter.text}
        onInput=${(event) => change({ text: event.target.value })}
      />
      <select aria-label="Event type" value=${filter.kind} onChange=${(event) => change({ kind: event.target.value })}>
        <option value="">All types</option>
        ${kinds.map(({ kind, count }) => html`<option key=${kind} value=${kind}>${kind} (${count})</option>`)}
      </select>
    </div>
  `;
}
