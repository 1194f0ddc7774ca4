/** The parameters of the next question, and the script that answers it in a model's place. */

import { useState } from "preact/hooks";

import { choose } from "../choice.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { ScenarioPicker } from "../scenario_picker.js";
import { NO_CHOICE, useStore } from "../store.js";
import { Popover } from "./popover.js";

const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh"];
const FIELDS = ["instructions", "temperature", "max_tokens", "reasoning_effort", "scenario"];

export function Parameters() {
  const choice = useStore((state) => state.choice);
  const count = FIELDS.filter((name) => choice[name] !== NO_CHOICE[name]).length;
  const button = html`<${Icon} name="sliders" />${count > 0 && html`<span class="count">${count}</span>`}`;
  return html`
    <${Popover} label="Parameters" name=${count > 0 ? `Parameters, ${count} set` : "Parameters"} button=${button}>
      ${() => html`<${Fields} choice=${choice} isChanged=${count > 0} />`}
    <//>
  `;
}

function Fields({ choice, isChanged }) {
  const [resets, setResets] = useState(0); // the number fields are drawn anew after each, without what was typed
  const reset = () => {
    choose(Object.fromEntries(FIELDS.map((name) => [name, NO_CHOICE[name]])));
    setResets(resets + 1);
  };
  return html`
    <label class="field">
      <span>Instructions</span>
      <textarea rows="3" placeholder="System prompt" value=${choice.instructions} onInput=${({ target }) => choose({ instructions: target.value })}></textarea>
    </label>
    <div class="fields" key=${resets}>
      <${NumberField} name="temperature" label="Temperature" hint="0 to 2" min="0" max="2" step="0.1" value=${choice.temperature} />
      <${NumberField} name="max_tokens" label="Max tokens" hint="no limit" min="1" step="1" value=${choice.max_tokens} />
      <label class="field">
        <span>Reasoning effort</span>
        <select value=${choice.reasoning_effort ?? ""} onChange=${({ target }) => choose({ reasoning_effort: target.value || null })}>
          <option value="">Default</option>
          ${EFFORTS.map((effort) => html`<option key=${effort}>${effort}</option>`)}
        </select>
      </label>
    </div>
    <${ScenarioPicker} />
    <button type="button" disabled=${!isChanged} onClick=${reset}>Reset to defaults</button>
  `;
}

/** A number that may be left out. What isn't valid is not sent. */
function NumberField({ name, label, hint, value, ...limits }) {
  const change = ({ target }) => choose({ [name]: target.value === "" || !target.validity.valid ? null : target.valueAsNumber });
  return html`
    <label class="field">
      <span>${label}</span>
      <input type="number" placeholder=${hint} defaultValue=${value ?? ""} onInput=${change} ...${limits} />
    </label>
  `;
}
