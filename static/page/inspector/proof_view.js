/** Shows the proof that a run arrived whole, once it has ended. */

import { useEffect, useState } from "preact/hooks";

import { html } from "../html.js";
import { proofOf } from "./proof.js";
import { storedLog } from "./shown_run.js";
import { framesIn } from "./stored_log.js";

export function Proof({ runId, frames }) {
  const isWhole = frames.at(-1)?.event.event === "complete";
  const [outcome, show] = useState({ checks: null, error: null });
  useEffect(() => {
    if (isWhole) void checked(runId, frames).then(show);
  }, [isWhole]);
  const { checks, error } = outcome;
  if (error) return html`<p class="note is-bad" role="alert">Couldn't read the stored log: ${error}</p>`;
  if (!checks) return html`<p class="small muted">Results appear when the run ends.</p>`;
  const holds = checks.every((check) => check.holds);
  return html`
    <section class="proof ${holds ? "is-good" : "is-bad"}" role="status">
      <h3>${holds ? "Answer fully recovered" : "Answer not fully recovered"}</h3>
      <ul>
        ${checks.map((check) => html`
          <li key=${check.title}>
            <span aria-hidden="true">${check.holds ? "✓" : "✗"}</span>
            <span><strong>${check.title}</strong><br /><span class="tiny">${check.facts}</span></span>
          </li>
        `)}
      </ul>
      <p class="tiny muted">Compared with the stored log: GET /runs/…/events?wait=false</p>
    </section>
  `;
}

async function checked(runId, frames) {
  try {
    const stored = framesIn(await storedLog(runId)).map(({ event }) => event);
    return { checks: proofOf(frames.map(({ event }) => event), stored), error: null };
  } catch (cause) {
    return { checks: null, error: cause.message };
  }
}
