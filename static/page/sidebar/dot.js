/** The state of a run, or of a session's latest run: a coloured dot with its name for screen readers. */

import { html } from "../html.js";

/** States that need no attention have a dot only in the list of runs (`isQuiet` is false). */
const QUIET = ["succeeded", "cancelled"];

export function Dot({ status, isQuiet = true }) {
  if (!status || (isQuiet && QUIET.includes(status))) return html`<span class="dot is-quiet"></span>`;
  return html`<span class="dot is-${status}" title=${status}></span><span class="hidden">${status}: </span>`;
}
