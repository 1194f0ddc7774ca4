/** HTML in an answer: plain markup is shown as markup, and everything else as its source, so that nothing is missed. */

import DOMPurify from "dompurify";
import { useLayoutEffect, useRef } from "preact/hooks";

import { html } from "../html.js";

/** Tags that only format text. None of them may have an attribute. */
const INLINE = "abbr b bdi br cite code del dfn em i ins kbd mark q s samp small strong sub sup u var wbr".split(" ");
const TEXT_BLOCKS = "blockquote dd details div dl dt h1 h2 h3 h4 h5 h6 hr li ol p pre summary ul".split(" ");
const BLOCKS = [...TEXT_BLOCKS, ..."table tbody td tfoot th thead tr".split(" ")];
const RULES = {
  ALLOWED_TAGS: [...INLINE, ...BLOCKS, "#text"],
  ALLOWED_ATTR: [],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const PLAIN_TAGS = new RegExp(`</?(?:${[...INLINE, ...BLOCKS].join("|")})\\s*/?>`, "gi");
const TAG = new RegExp(`^<(/?)(${INLINE.join("|")})\\s*/?>$`, "i");
const EMPTY = new Set(["br", "wbr"]);

/** Returns `{name, isEnd, isEmpty}` for a tag that only formats text, and null for any other. */
export function formattingTag(source) {
  const match = TAG.exec(source);
  if (match === null) return null;
  const name = match[2].toLowerCase();
  return { name, isEnd: match[1] === "/", isEmpty: EMPTY.has(name) };
}

export function HtmlView({ source }) {
  const place = useRef(null);
  const clean = cleaned(source);
  useLayoutEffect(() => clean && place.current.replaceChildren(clean), [source]);
  if (clean === null) return html`<p class="source">${source.trimEnd()}</p>`;
  return html`<div key=${source} ref=${place}></div>`;
}

/**
 * Returns the elements of plain markup, or null for any other HTML. Only plain markup reaches the sanitizer, because a
 * browser reports each handler that it parses to the console, also where it can't run.
 */
function cleaned(source) {
  if (source.replace(PLAIN_TAGS, "").includes("<")) return null;
  const fragment = DOMPurify.sanitize(source, RULES);
  return DOMPurify.removed.length > 0 ? null : fragment;
}
