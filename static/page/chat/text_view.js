/** A text of a model, drawn as markdown, block by block. Only the block that grows is drawn again. */

import { useRef } from "preact/hooks";

import { html } from "../html.js";
import { growBlocks } from "./blocks.js";
import { CodeView } from "./code_view.js";
import { useGradual } from "./gradual.js";
import { elementsOf, headOf, rowsOf, tableOf } from "./markdown.js";
import { memo } from "./memo.js";

const BLOCKS_AT_ONCE = 12;

/** `isWhole` is whether the text can't grow any more. */
export const TextView = memo(function TextView({ text, isWhole }) {
  const grown = useRef(null);
  grown.current = growBlocks(grown.current, text, isWhole);
  const { blocks } = grown.current;
  const drawn = useGradual(blocks.length, BLOCKS_AT_ONCE, BLOCKS_AT_ONCE);
  return html`<div class="markdown">${grouped(blocks.slice(0, drawn)).map(drawGroup)}</div>`;
});

/** The blocks in lists of those that belong to the same table or code. */
function grouped(blocks) {
  const groups = [];
  for (const block of blocks) {
    const last = groups.at(-1);
    if (last?.[0].group === block.group) last.push(block);
    else groups.push([block]);
  }
  return groups;
}

function drawGroup(blocks) {
  const [{ kind, key, source, isClosed, info, isNested }] = blocks;
  switch (kind) {
    case "code":
      return html`<${CodeView} key=${key} pieces=${blocks} info=${info} isNested=${isNested} />`;
    case "table":
      return html`<${Table} key=${key} blocks=${blocks} />`;
    default:
      return html`<${Block} key=${key} source=${source} isClosed=${isClosed} />`;
  }
}

const Block = memo(({ source, isClosed }) => elementsOf(source, isClosed));

/** Draws the parts of a table, unless something else follows its rows without an empty line. */
function Table({ blocks }) {
  const tables = blocks.map(parsedOnce);
  if (tables.includes(null)) return blocks.map(({ key, ...block }) => html`<${Block} key=${key} ...${block} />`);
  const bodies = tables.map((table, place) => html`<${Rows} key=${blocks[place].key} table=${table} />`);
  return html`
    <div class="table" tabindex="0" role="group" aria-label="Table">
      <table>${headOf(tables[0])}${bodies}</table>
    </div>
  `;
}

const parsed = new WeakMap();

function parsedOnce(block) {
  if (!parsed.has(block)) parsed.set(block, tableOf(block.source));
  return parsed.get(block);
}

const Rows = memo(({ table }) => html`<tbody>${rowsOf(table)}</tbody>`);
