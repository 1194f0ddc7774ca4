/** A choice of one of a few options, all in sight. Radio buttons, so the arrow keys work. */

import { useId } from "preact/hooks";

import { html } from "../html.js";

/** `options` are the values, and `titleOf` returns what is shown for one. */
export function Segments({ label, options, selected, onSelect, titleOf = String }) {
  const name = useId();
  return html`
    <fieldset class="segments">
      <legend class="hidden">${label}</legend>
      ${options.map((option) => html`
        <label key=${option}>
          <input type="radio" class="hidden" name=${name} checked=${option === selected} onChange=${() => onSelect(option)} />
          <span>${titleOf(option)}</span>
        </label>
      `)}
    </fieldset>
  `;
}
