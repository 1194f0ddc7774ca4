/** The connections over which a run came, as pieces of a bar. */

import { html } from "../html.js";

const ENDS = {
  whole: "complete",
  left: "closed",
  cut: "cut",
  dropped: "dropped",
  lost: "lost",
};

/** Shows `connections` ({ first, last, end }) of a run whose latest event here is `last`. */
export function Connections({ connections, last }) {
  if (connections.length === 0) return null;
  return html`
    <section aria-labelledby="connections-title">
      <h3 id="connections-title">${connections.length === 1 ? "1 connection" : `${connections.length} connections`}</h3>
      <ol class="connections">
        ${connections.map(({ first, last: until, end }, place) => html`
          <li key=${place} class="is-${end ?? "open"}">
            <span class="span-track">
              ${first !== null && html`
                <span class="stretch" style=${{ left: `${(100 * (first - 1)) / last}%`, width: `${(100 * (until - first + 1)) / last}%` }}></span>
              `}
            </span>
            <span class="tiny">${first === null ? "no events" : `events ${first}–${until}`} · ${end === null ? "open" : ENDS[end]}</span>
          </li>
        `)}
      </ol>
    </section>
  `;
}
