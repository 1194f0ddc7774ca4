/** The model's reasoning, folded, with the seconds that it took. */

import { useState } from "preact/hooks";

import { html } from "../html.js";
import { Icon } from "../icons.js";
import { duration } from "./format.js";
import { memo } from "./memo.js";
import { TextView } from "./text_view.js";

const SHORTEST_MS = 1000;

/** `took` is in ms, or null where it isn't known. */
export const Thinking = memo(function Thinking({ text, took, isUnderWay }) {
  const [isOpen, setOpen] = useState(false);
  return html`
    <details class="thinking" open=${isOpen} onToggle=${(toggle) => setOpen(toggle.currentTarget.open)}>
      <summary class=${isUnderWay ? "is-under-way" : ""}>
        <${Icon} name="think" />${label(took, isUnderWay)}<${Icon} name="fold" />
      </summary>
      ${isOpen && html`<${TextView} text=${text} isWhole=${!isUnderWay} />`}
    </details>
  `;
});

function label(took, isUnderWay) {
  const time = took === null || took < SHORTEST_MS ? "" : ` for ${duration(took)}`;
  return isUnderWay ? `Thinking${time}…` : `Thought${time}`;
}
