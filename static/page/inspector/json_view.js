/** A JSON value with colours and a button to copy it. */

import { CodeView } from "../chat/code_view.js";
import { visibleJson } from "../chat/format.js";
import { html } from "../html.js";

const LONGEST_SHOWN = 200_000; // characters: a browser lays out more than that too slowly

export function JsonView({ value }) {
  const json = visibleJson(value);
  const source = json.slice(0, LONGEST_SHOWN);
  return html`
    <${CodeView} pieces=${[{ key: 0, source, isClosed: true }]} info="json" />
    ${source !== json && html`<p class="tiny muted">These are the first ${LONGEST_SHOWN} of ${json.length} characters.</p>`}
  `;
}
