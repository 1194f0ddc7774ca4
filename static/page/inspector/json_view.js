/** A JSON text with colours and a button to copy it. */

import { CodeView } from "../chat/code_view.js";
import { visibleJson } from "../chat/format.js";
import { html } from "../html.js";

const LONGEST_SHOWN = 200_000; // characters: a browser lays out more than that too slowly

export function JsonView({ json }) {
  const shown = visibleJson(json);
  const source = shown.slice(0, LONGEST_SHOWN);
  return html`
    <${CodeView} pieces=${[{ key: 0, source, isClosed: true }]} info="json" />
    ${source !== shown && html`<p class="tiny muted">These are the first ${LONGEST_SHOWN} of ${shown.length} characters.</p>`}
  `;
}
