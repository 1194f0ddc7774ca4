/** A JSON text with colours and a button to copy it. */

import { html } from "../html.js";
import { CodeView } from "./code_view.js";
import { visibleJson } from "./format.js";

const LONGEST_SHOWN = 200_000; // characters: a browser lays out more than that too slowly

export function JsonView({ json }) {
  const shown = visibleJson(json);
  const source = shown.slice(0, LONGEST_SHOWN);
  return html`
    <${CodeView} pieces=${[{ key: 0, source, isClosed: true }]} info="json" />
    ${source !== shown && html`<p class="tiny muted">Showing the first ${LONGEST_SHOWN} of ${shown.length} characters.</p>`}
  `;
}
