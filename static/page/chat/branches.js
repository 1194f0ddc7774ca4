/** The other versions of a question or of its answer: ◂ 2/3 ▸. */

import { html } from "../html.js";
import { Icon } from "../icons.js";
import { openRun } from "../route.js";
import { store } from "../store.js";

export function Branches({ branches, canAsk }) {
  const { runIds, index } = branches;
  const show = (place) => openRun({ session_id: store.get().route.session, run_id: runIds[place] });
  return html`
    <span class="branches" role="group" aria-label="Versions">
      <button
        type="button"
        class="plain"
        aria-label="Previous version"
        disabled=${!canAsk || index === 0}
        onClick=${() => show(index - 1)}
      >
        <${Icon} name="left" />
      </button>
      <span>${index + 1}/${runIds.length}</span>
      <button
        type="button"
        class="plain"
        aria-label="Next version"
        disabled=${!canAsk || index === runIds.length - 1}
        onClick=${() => show(index + 1)}
      >
        <${Icon} name="right" />
      </button>
    </span>
  `;
}
