/** An answer that is a checked value: a tree, and its JSON. */

import { useMemo, useState } from "preact/hooks";

import { html } from "../html.js";
import { treeOf } from "./json_tree.js";
import { JsonView } from "./json_view.js";
import { memo } from "./memo.js";

const LONGEST_TREE = 200_000; // characters of JSON: a longer value is shown as JSON only
const MOST_ENTRIES = 200; // of one object or list
const MOST_DRAWN = 5_000; // characters of one text

/** `json` is the value, with each digit of its numbers, and `attempts` the number of answers until one matched the schema. */
export const StructuredAnswer = memo(function StructuredAnswer({ json, attempts }) {
  const tree = useMemo(() => (json.length <= LONGEST_TREE ? treeOf(json) : null), [json]);
  return html`
    <section class="structured" aria-label="Structured answer">
      ${tree && html`<${Value} node=${tree} name="Answer" isOpenAtFirst=${true} />`}
      <${Fold} title="JSON" isOpenAtFirst=${tree === null}>${() => html`<${JsonView} json=${json} />`}<//>
      ${attempts > 1 && html`<p class="small muted">Matched the schema on attempt ${attempts}.</p>`}
    </section>
  `;
});

function Value({ node: { text, children }, name, isOpenAtFirst = false }) {
  if (children === null) return html`<span class="json-name">${name}</span> <code>${brief(text)}</code>`;
  const title = html`<span class="json-name">${name}</span> <span class="muted">${sizeOf(text, children)}</span>`;
  return html`<${Fold} title=${title} isOpenAtFirst=${isOpenAtFirst}>${() => html`<${Entries} entries=${children} />`}<//>`;
}

function Entries({ entries }) {
  const rest = entries.length - MOST_ENTRIES;
  return html`
    <ul class="json-entries">
      ${entries.slice(0, MOST_ENTRIES).map((node, place) => html`<li key=${place}><${Value} node=${node} name=${node.name} /></li>`)}
      ${rest > 0 && html`<li class="muted">… and ${rest} more</li>`}
    </ul>
  `;
}

/** Draws what `children` returns only while it is open. */
function Fold({ title, isOpenAtFirst, children }) {
  const [isOpen, setOpen] = useState(isOpenAtFirst);
  return html`
    <details open=${isOpen} onToggle=${(toggle) => setOpen(toggle.currentTarget.open)}>
      <summary>${title}</summary>
      ${isOpen && children()}
    </details>
  `;
}

const sizeOf = (text, { length }) => (text === "{" ? `{${length}}` : `[${length}]`);

const brief = (text) => (text.length <= MOST_DRAWN ? text : `${text.slice(0, MOST_DRAWN)}…`);
