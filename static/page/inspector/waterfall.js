/** The waterfall of a run: its steps, tool calls and waits over time. */

import { html } from "../html.js";
import { duration } from "./formats.js";

const TICKS = 2;

/** Shows spans up to `nowMs`, the present time of the run. */
export function Waterfall({ spans, nowMs }) {
  const whole = Math.max(nowMs, 1);
  const ticks = Array.from({ length: TICKS + 1 }, (_, place) => (whole * place) / TICKS);
  return html`
    <div class="waterfall">
      <div class="axis" aria-hidden="true">
        ${ticks.map((ms, place) => html`<span key=${place}>${duration(ms)}</span>`)}
      </div>
      <ul aria-label="Steps and tool calls">
        ${spans.map((span, place) => html`<${Row} key=${place} span=${span} whole=${whole} />`)}
      </ul>
    </div>
  `;
}

function Row({ span, whole }) {
  const { kind, name, start, end, first, last, failed } = span;
  const until = end ?? whole;
  const percent = (ms) => `${(100 * ms) / whole}%`;
  const state = end === null ? "is-open" : failed ? "is-bad" : "";
  return html`
    <li class="run-span is-${kind} ${state}">
      <span class="span-name cut" title=${name}>${name}</span>
      <span class="span-track">
        <span class="stretch" style=${{ left: percent(start), width: percent(until - start) }}></span>
        ${first !== null &&
        html`<span class="stretch is-writing" style=${{ left: percent(first), width: percent(last - first) }}></span>`}
      </span>
      <span class="span-time">${duration(until - start)}${failed && html`<span class="hidden"> failed</span>`}</span>
    </li>
  `;
}
