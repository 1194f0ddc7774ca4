/** JSON as a tree whose numbers keep each digit. Pure. */

import { visibleJson } from "./format.js";

const MEMBER = /^"((?:[^"\\]|\\.)*)": /;
const ENDS = { "{": "}", "[": "]" };

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
    const node = { name: member ? member[1] : children.length, text, children: text in ENDS ? [] : null };
    children.push(node);
    if (node.children) around.push(node);
  }
  return root.children[0];
}

/** Returns the JSON of a node. */
export function jsonIn({ text, children }) {
  if (!children) return text;
  const entries = children.map((child) => (text === "{" ? `"${child.name}":${jsonIn(child)}` : jsonIn(child)));
  return `${text}${entries.join(",")}${ENDS[text]}`;
}

/** Returns the JSON of the value of an answer. `json` is the event `final_output`, which has a value. */
export function valueIn(json) {
  const member = (node, name) => node.children.findLast((child) => child.name === name);
  return jsonIn(member(member(treeOf(json), "data"), "data"));
}
