/** The text of a tab while there is no run. */

import { html } from "../html.js";

export function Empty({ error }) {
  if (error) return html`<p class="note is-bad" role="alert">${error}</p>`;
  return html`
    <div class="no-run">
      <p>No run yet</p>
      <p class="muted small">Ask a question. Its events, timing, and request show up here live.</p>
    </div>
  `;
}
