/** The tab Run: a run's status, its numbers, the waterfall, and its tokens over the same time. */

import { useMemo } from "preact/hooks";

import { CopyButton } from "../chat/copy_button.js";
import { cost } from "../chat/format.js";
import { html } from "../html.js";
import { Chart } from "./chart.js";
import { useAtMostEvery, useClock } from "./clock.js";
import { Empty } from "./empty.js";
import { bytes, count, dollars, duration, speed } from "./formats.js";
import { measuresOf, speedOf, tokensOverTime } from "./measures.js";
import { useShownRun } from "./shown_run.js";
import { nowOf, spansOf } from "./timing.js";
import { Waterfall } from "./waterfall.js";

const CALM_MS = 250;

export function RunTab() {
  const { frames: latest, error, isReplay, workStatus } = useShownRun();
  const frames = useAtMostEvery(CALM_MS, latest);
  const spans = useMemo(() => spansOf(frames), [frames]);
  const measures = useMemo(() => measuresOf(frames, spans), [frames]);
  const series = useMemo(() => tokensOverTime(measures.steps), [measures]);
  const isUnderWay = !isReplay && ["streaming", "waiting"].includes(measures.status);
  const clockMs = useClock(isUnderWay);
  const nowMs = nowOf(frames, isUnderWay ? clockMs : null);
  const status = measures.status === "streaming" ? workStatus : measures.status;
  if (frames.length === 0) return html`<${Empty} error=${error} />`;
  return html`
    <${Summary} measures=${measures} status=${status} nowMs=${nowMs} />
    <section aria-labelledby="waterfall-title">
      <h3 id="waterfall-title">Waterfall</h3>
      <${Waterfall} runId=${measures.runId} spans=${spans} nowMs=${nowMs} />
    </section>
    ${series[0].length > 1 && html`<${Tokens} series=${series} nowMs=${nowMs} />`}
    <${Steps} steps=${measures.steps} isUnderWay=${isUnderWay} />
  `;
}

/** A run's status and numbers. */
function Summary({ measures, status, nowMs }) {
  const { runId, model, firstTokenMs, durationMs, tokensPerS, isEstimated, usage } = measures;
  const estimate = isEstimated && tokensPerS !== null ? "~" : "";
  return html`
    <div class="run-head">
      <p class="run-status is-${status}"><span class="dot is-${DOTS[status] ?? status}"></span>${status}</p>
      <p class="mono cut" title=${model}>${model}</p>
      <${CopyButton} text=${() => runId} label="Copy run ID" />
    </div>
    <dl class="tiles">
      <${Tile} name="First token" value=${duration(firstTokenMs)} />
      <${Tile} name="Duration" value=${duration(durationMs ?? nowMs)} />
      <${Tile} name="Tokens/s" value=${`${estimate}${speed(tokensPerS)}`} />
      <${Tile} name="Tokens in" value=${count(usage?.input_tokens)} />
      <${Tile} name="Tokens out" value=${count(usage?.output_tokens)} />
      <${Tile} name="${count(measures.events)} events" value=${bytes(measures.bytes)} />
      <${Tile} name="Cost" value=${cost(usage) ?? "–"} />
    </dl>
  `;
}

/** The chart of a run's tokens. Its time axis ends at `nowMs`, as that of the waterfall does, but is drawn less often. */
function Tokens({ series, nowMs }) {
  const [seconds, tokens] = series;
  const calmMs = useAtMostEvery(CALM_MS, nowMs);
  const end = Math.max(calmMs / 1_000, seconds.at(-1));
  return html`
    <section aria-labelledby="chart-title">
      <h3 id="chart-title">Output tokens over time</h3>
      <${Chart} data=${series} seconds=${end} label="${count(Math.round(tokens.at(-1)))} tokens in ${seconds.at(-1)} seconds" />
    </section>
  `;
}

const DOTS = { streaming: "running" };

const Tile = ({ name, value }) => html`<div class="tile"><dt>${name}</dt><dd>${value}</dd></div>`;

function Steps({ steps, isUnderWay }) {
  if (steps.length === 0) return null;
  return html`
    <section aria-labelledby="steps-title">
      <h3 id="steps-title">Usage by step</h3>
      <table class="step-table">
        <thead>
          <tr><th scope="col">Step</th><th scope="col">Finish reason</th><th scope="col">In</th><th scope="col">Out</th><th scope="col">tok/s</th><th scope="col">Cost</th></tr>
        </thead>
        <tbody>
          ${steps.map((step) => html`<${StepRow} key=${step.step} step=${step} open=${isUnderWay ? "…" : "–"} />`)}
        </tbody>
      </table>
    </section>
  `;
}

/** `open` is shown for a step that has not ended. */
function StepRow({ open, step }) {
  const { finishReason, usage } = step;
  return html`
    <tr>
      <th scope="row">${step.step}</th>
      <td>${finishReason ?? open}</td>
      <td>${count(usage?.input_tokens)}</td>
      <td>${count(usage?.output_tokens)}</td>
      <td>${speed(speedOf(step))}</td>
      <td>${dollars(usage?.cost_usd)}</td>
    </tr>
  `;
}
