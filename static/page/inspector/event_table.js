/** A table of events that renders only the rows in sight, so that 20,000 of them stay fast. */

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { html } from "../html.js";
import { rowsInSight, summaryOf } from "./event_rows.js";

const ROW_HEIGHT = 28;
const NEAR_THE_END = ROW_HEIGHT; // px: closer than this, the table follows the newest event

const KEYS = {
  ArrowUp: (place) => place - 1,
  ArrowDown: (place) => place + 1,
  PageUp: (place) => place - 10,
  PageDown: (place) => place + 10,
  Home: () => 0,
  End: () => Infinity,
};

/**
 * Shows rows ({ event, bytes, gapMs }) and folds of them. `seqs` are the numbers of all events, also of folded ones, in which the keys
 * move. `selected` is the number of the event whose JSON is shown, or null.
 */
export function EventTable({ rows, seqs, selected, onSelect, onFold }) {
  const [sight, setSight] = useState({ scrollTop: 0, height: 0 });
  const body = useScrolling(rows, selected, setSight);
  const { first, end, slots } = rowsInSight({ count: rows.length, rowHeight: ROW_HEIGHT, ...sight });
  const onKeyDown = (event) => {
    if (!Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    const next = Math.min(Math.max(KEYS[event.key](seqs.indexOf(selected)), 0), seqs.length - 1);
    if (seqs.length > 0) onSelect(seqs[next]);
  };
  return html`
    <div
      class="event-grid"
      role="grid"
      aria-label="Events"
      aria-rowcount=${rows.length + 1}
      aria-activedescendant=${selected ? `event-${selected}` : undefined}
      tabindex="0"
      onKeyDown=${onKeyDown}
    >
      <div class="event-row is-head" role="row" aria-rowindex="1">
        <span role="columnheader">#</span><span role="columnheader">Event</span>
        <span role="columnheader">Data</span><span role="columnheader">Gap</span><span role="columnheader">Bytes</span>
      </div>
      <div class="event-rows" role="rowgroup" ref=${body}>
        <div class="event-rows-height" role="presentation" style=${{ height: `${rows.length * ROW_HEIGHT}px` }}>
          ${rows.slice(first, end).map((row, index) => {
            const place = first + index;
            const key = place % slots;
            if (row.fold) return html`<${Fold} key=${key} fold=${row} place=${place} onFold=${onFold} />`;
            return html`<${Row} key=${key} row=${row} place=${place} isSelected=${row.event.seq === selected} onSelect=${onSelect} />`;
          })}
        </div>
      </div>
    </div>
  `;
}

function Row({ row: { event, bytes, gapMs }, place, isSelected, onSelect }) {
  return html`
    <div
      class="event-row kind-${event.event} ${isSelected ? "is-selected" : ""}"
      role="row"
      id="event-${event.seq}"
      aria-rowindex=${place + 2}
      aria-selected=${isSelected}
      style=${{ top: `${place * ROW_HEIGHT}px` }}
      onClick=${() => onSelect(event.seq)}
    >
      <span role="gridcell" class="seq">${event.seq}</span>
      <span role="gridcell" class="event-kind cut">${event.event}</span>
      <span role="gridcell" class="data cut">${summaryOf(event)}</span>
      <span role="gridcell" class="gap">+${Math.round(gapMs)}</span>
      <span role="gridcell" class="bytes">${bytes}</span>
    </div>
  `;
}

function Fold({ fold: { fold, seq, last, title, text, gapMs, bytes, isOpen }, place, onFold }) {
  return html`
    <div
      class="event-row is-fold kind-${fold}"
      role="row"
      aria-rowindex=${place + 2}
      title="events ${seq}–${last}"
      style=${{ top: `${place * ROW_HEIGHT}px` }}
      onClick=${() => onFold(seq, last, isOpen)}
    >
      <span role="gridcell" class="seq">${seq}</span>
      <span role="gridcell" class="event-kind">
        <button type="button" class="plain cut" tabindex="-1" aria-expanded=${isOpen}>${isOpen ? "▾" : "▸"} ${title}</button>
      </span>
      <span role="gridcell" class="data cut">${text}</span>
      <span role="gridcell" class="gap">+${Math.round(gapMs)}</span>
      <span role="gridcell" class="bytes">${bytes}</span>
    </div>
  `;
}

/**
 * Reports what is in sight, follows the newest row while the table is scrolled to its end, and brings the selected row into
 * sight when another one is selected. Returns the ref of the element that scrolls.
 */
function useScrolling(rows, selected, setSight) {
  const body = useRef(null);
  const follows = useRef(true);
  useEffect(() => {
    const element = body.current;
    const look = () => {
      follows.current = element.scrollTop + element.clientHeight >= element.scrollHeight - NEAR_THE_END;
      setSight({ scrollTop: element.scrollTop, height: element.clientHeight });
    };
    const sizes = new ResizeObserver(look);
    sizes.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      sizes.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);
  useLayoutEffect(() => {
    if (follows.current && !selected) body.current.scrollTop = body.current.scrollHeight;
  }, [rows.length]);
  const place = useMemo(() => rows.findIndex(({ event }) => event && event.seq === selected), [rows, selected]);
  useLayoutEffect(() => {
    if (place >= 0) bringIntoSight(body.current, place);
  }, [selected, place >= 0]);
  return body;
}

function bringIntoSight(element, place) {
  const top = place * ROW_HEIGHT;
  const last = top + ROW_HEIGHT - element.clientHeight;
  element.scrollTop = Math.min(Math.max(element.scrollTop, last), top);
}
