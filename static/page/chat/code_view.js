/** A block of code with its language and a button to copy it. Long code comes in several pieces. */

import { useEffect, useState } from "preact/hooks";

import { html } from "../html.js";
import { CopyButton } from "./copy_button.js";
import { colour, grammarFor } from "./highlighting.js";
import { memo } from "./memo.js";

/** `pieces` are `{key, source, isClosed}`, and `info` are the words after the fence. */
export function CodeView({ pieces, info, isNested = false }) {
  const [language] = info.split(/\s/, 1);
  const grammar = grammarFor(info);
  return html`
    <figure class=${isNested ? "code is-nested" : "code"}>
      <figcaption>
        <span class="language">${language || "text"}</span>
        <${CopyButton}
          withWord
          label="Copy code"
          text=${() => pieces.map(({ source }) => source).join("").replace(/\n$/, "")}
        />
      </figcaption>
      <pre tabindex="0" aria-label=${`Code ${language}`}><code>${pieces.map(
        ({ key, source, isClosed }) =>
          html`<${Piece} key=${key} source=${source} grammar=${grammar} isClosed=${isClosed} />`,
      )}</code></pre>
    </figure>
  `;
}

/** A piece of code. It gets its colours once it can't change any more. */
const Piece = memo(function Piece({ source, grammar, isClosed }) {
  const [coloured, setColoured] = useState(null);
  const text = source.replace(/\n$/, "");
  useEffect(() => {
    setColoured(null);
    return isClosed && grammar ? colour(text, grammar, setColoured) : undefined;
  }, [text, grammar, isClosed]);
  return html`<span class="piece">${coloured ?? text}</span>`;
});
