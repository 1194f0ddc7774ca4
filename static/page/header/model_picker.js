/** Picks a model: that of the next question, or one of a comparison. */

import { useState } from "preact/hooks";

import { choose } from "../choice.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { useStore } from "../store.js";
import { useOtherModel } from "./answering.js";
import { entriesFor, shortName } from "./models.js";
import { Popover } from "./popover.js";

const NO_LIST = { models: [] };

export function ModelPicker() {
  const model = useStore((state) => state.choice.model);
  const standard = useStore((state) => state.catalog.models?.default_model);
  const next = model ?? standard;
  const other = useOtherModel(next);
  return html`<${ModelMenu} label="Model" chosen=${model} words=${wordsOf(next, other)} onPick=${(id) => choose({ model: id })} />`;
}

/** Returns what the button shows of the model of the next question, or of another one that answers now. */
function wordsOf(next, other) {
  if (other === null) return shortName(next);
  return other.isUnderWay ? `Answering: ${shortName(other.model)}` : `Next: ${shortName(next)}`;
}

/** `chosen` is the name of the model, or null for the default one, and `words` what is shown of it. `onPick` gets another name. */
export function ModelMenu({ label, chosen, words, onPick }) {
  const list = useStore((state) => state.catalog.models) ?? NO_LIST;
  const button = html`<${Icon} name="model" /><span class="cut">${words}</span><${Icon} name="down" />`;
  return html`
    <${Popover} label=${label} name="${label}: ${words}" button=${button}>
      ${(close) => html`<${ModelList} list=${list} chosen=${chosen} onPick=${onPick} close=${close} />`}
    <//>
  `;
}

/** A combobox: the arrows move in the list while the focus stays in the field. */
function ModelList({ list, chosen, onPick, close }) {
  const [words, setWords] = useState("");
  const [place, setPlace] = useState(0);
  const entries = entriesFor(list, words);
  const pick = ({ id }) => {
    onPick(id);
    close();
  };
  const onKeyDown = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setPlace(Math.min(Math.max(place + step, 0), entries.length - 1));
    else if (event.key === "Enter" && entries[place]) pick(entries[place]);
    else return;
    event.preventDefault();
  };
  const search = ({ target }) => {
    setWords(target.value);
    setPlace(0);
  };
  return html`
    <input role="combobox" aria-label="Search models" aria-expanded="true" aria-controls="models" autocomplete="off"
      aria-activedescendant=${entries[place] ? `model-${place}` : undefined} placeholder="Search or type provider/model"
      value=${words} onInput=${search} onKeyDown=${onKeyDown} />
    ${list.problem && html`<p class="hint" role="status">${list.problem}</p>`}
    <${Entries} entries=${entries} place=${place} chosen=${chosen} pick=${pick} />
  `;
}

function Entries({ entries, place, chosen, pick }) {
  const show = (element) => element?.scrollIntoView({ block: "nearest" });
  return html`
    <ul class="entries" id="models" role="listbox" aria-label="Models">
      ${entries.map(
        (entry, index) => html`
          <li
            key=${entry.id}
            id="model-${index}"
            role="option"
            ref=${index === place ? show : undefined}
            class=${index === place ? "entry is-active" : "entry"}
            aria-selected=${entry.id === chosen}
            onClick=${() => pick(entry)}
          >
            <span class="entry-mark">${entry.id === chosen && html`<${Icon} name="check" />`}</span>
            <span class="entry-text"><span>${entry.label}</span><span class="tiny muted">${entry.about}</span></span>
          </li>
        `,
      )}
    </ul>
    ${entries.length === 0 && html`<p class="hint">No matches. To use another model, type its full name: provider/model.</p>`}
  `;
}
