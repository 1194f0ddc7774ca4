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

/** Shows rows ({ event, bytes, gapMs }). `selected` is the number of the event whose JSON is shown, or null. */
export function EventTable({ rows, selected, onSelect }) {
  const [sight, setSight] = useState({ scrollTop: 0, height: 0 });
  const body = useScrolling(rows, selected, setSight);
  const { first, end, slots } = rowsInSight({ count: rows.length, rowHeight: ROW_HEIGHT, ...sight });
  const onKeyDown = (event) => {
    if (!Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    const place = rows.findIndex((row) => row.event.seq === selected);
    const next = Math.min(Math.max(KEYS[event.key](place), 0), rows.length - 1);
    if (rows[next]) onSelect(rows[next].event.seq);
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
          ${rows.slice(first, end).map((row, place) => html`
            <${Row} key=${(first + place) % slots} row=${row} place=${first + place} isSelected=${row.event.seq === selected} onSelect=${onSelect} />
          `)}
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
  const place = useMemo(() => rows.findIndex(({ event }) => event.seq === selected), [rows, selected]);
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
