/** The waterfall of a run: its steps, tool calls and waits over time. */

import { duration } from "../chat/format.js";
import { html } from "../html.js";
import { formatRoute, onPlainClick } from "../route.js";
import { useStore } from "../store.js";
import { showEvent } from "./links.js";
import { TimeAxis } from "./time_axis.js";
import { shownMs } from "./timing.js";

/**
 * Shows the spans of a run up to `nowMs`, its present time. Each leads to the event with which it begins. A call that the service
 * has not made, such as one that was denied, has no time.
 */
export function Waterfall({ runId, spans, nowMs }) {
  const whole = Math.max(nowMs, 1);
  return html`
    <div class="waterfall">
      <${TimeAxis} ms=${whole} />
      <ul aria-label="Steps and tool calls">
        ${spans.map((span, place) => html`<${Row} key=${place} runId=${runId} span=${span} whole=${whole} />`)}
      </ul>
    </div>
  `;
}

function Row({ runId, span, whole }) {
  const { kind, name, seq, start, end, first, last, waits, decidedAt, failed } = span;
  const session = useStore(({ route }) => route.session);
  const until = end ?? whole;
  const waitsUntil = waits ? (decidedAt ?? until) : null;
  const percent = (ms) => `${(100 * ms) / whole}%`;
  const ms = shownMs(span, whole);
  const state = end === null ? "is-open" : failed ? "is-bad" : "";
  return html`
    <li class="run-span is-${kind} ${state}">
      <a
        class="span-name cut"
        title="${name}: event ${seq}"
        href="./${formatRoute({ session, run: runId, seq })}"
        onClick=${onPlainClick(() => showEvent(runId, seq))}
      >
        ${name}
      </a>
      <span class="span-track">
        <span class="stretch" style=${{ left: percent(start), width: percent(until - start) }}></span>
        ${waitsUntil !== null &&
        html`<span class="stretch is-waiting" style=${{ left: percent(start), width: percent(waitsUntil - start) }}></span>`}
        ${first !== null &&
        html`<span class="stretch is-writing" style=${{ left: percent(first), width: percent(last - first) }}></span>`}
      </span>
      <span class="span-time">${ms !== null && duration(ms)}${failed && html`<span class="hidden"> failed</span>`}</span>
    </li>
  `;
}
