/** The waterfall of a run: its steps, tool calls and waits over time. */

import { html } from "../html.js";
import { duration } from "./formats.js";
import { TimeAxis } from "./time_axis.js";

/** Shows spans up to `nowMs`, the present time of the run. */
export function Waterfall({ spans, nowMs }) {
  const whole = Math.max(nowMs, 1);
  return html`
    <div class="waterfall">
      <${TimeAxis} ms=${whole} />
      <ul aria-label="Steps and tool calls">
        ${spans.map((span, place) => html`<${Row} key=${place} span=${span} whole=${whole} />`)}
      </ul>
    </div>
  `;
}

function Row({ span, whole }) {
  const { kind, name, start, end, first, last, waits, decidedAt, failed } = span;
  const until = end ?? whole;
  const waitsUntil = waits ? (decidedAt ?? until) : null;
  const percent = (ms) => `${(100 * ms) / whole}%`;
  const state = end === null ? "is-open" : failed ? "is-bad" : "";
  return html`
    <li class="run-span is-${kind} ${state}">
      <span class="span-name cut" title=${name}>${name}</span>
      <span class="span-track">
        <span class="stretch" style=${{ left: percent(start), width: percent(until - start) }}></span>
        ${waitsUntil !== null &&
        html`<span class="stretch is-waiting" style=${{ left: percent(start), width: percent(waitsUntil - start) }}></span>`}
        ${first !== null &&
        html`<span class="stretch is-writing" style=${{ left: percent(first), width: percent(last - first) }}></span>`}
      </span>
      <span class="span-time">${duration(until - start)}${failed && html`<span class="hidden"> failed</span>`}</span>
    </li>
  `;
}
