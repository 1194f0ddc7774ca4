/** JSON as a tree whose numbers keep each digit. Pure. */

import { visibleJson } from "./format.js";

const MEMBER = /^"((?:[^"\\]|\\.)*)": /;
const OPENINGS = ["{", "["];

/**
 * Returns the tree of a JSON text: nodes `{ name, text, children }`. `name` is a member's name as JSON writes it, or a place in a list.
 * An object or a list has `children`, and as its `text` the bracket that begins it. Any other value has its JSON as `text`.
 */
export function treeOf(json) {
  const root = { name: "", text: "[", children: [] };
  const around = [root];
  for (const line of visibleJson(json).split("\n")) {
    const entry = line.trim().replace(/,$/, "");
    const { children } = around.at(-1);
    if (entry === "}" || entry === "]") {
      around.pop();
      continue;
    }
    const member = MEMBER.exec(entry);
    const text = member ? entry.slice(member[0].length) : entry;
    const node = { name: member ? member[1] : children.length, text, children: OPENINGS.includes(text) ? [] : null };
    children.push(node);
    if (node.children) around.push(node);
  }
  return root.children[0];
}
