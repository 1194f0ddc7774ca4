/** The time axis that the waterfall and the chart share: the beginning, the middle and the end of a run. */

import { html } from "../html.js";
import { duration } from "./formats.js";

/** Returns the places of the ticks on an axis of this length. */
export const ticksOf = (length) => [0, length / 2, length];

/** Shows the times of an axis of so many `ms`. */
export function TimeAxis({ ms }) {
  return html`
    <div class="axis" aria-hidden="true">
      ${ticksOf(ms).map((tick, place) => html`<span key=${place}>${duration(tick)}</span>`)}
    </div>
  `;
}
