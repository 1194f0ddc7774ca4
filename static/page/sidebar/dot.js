/** The state of a run, or of a session's latest run: a coloured dot. The word for it stands in the text beside it. */

import { html } from "../html.js";

/** States that need no attention have a dot and a word only in the list of runs. */
const QUIET = ["succeeded", "cancelled"];

/** Returns the word for the state of a session, or null if it needs no attention. */
export const urgent = (status) => (!status || QUIET.includes(status) ? null : status);

/** Shows the dot of a status, or room for one if it is null. */
export function Dot({ status }) {
  return html`<span class=${status ? `dot is-${status}` : "dot is-quiet"} aria-hidden="true"></span>`;
}
