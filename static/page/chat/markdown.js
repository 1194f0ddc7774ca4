/**
 * Draws a block of markdown. The parser's tokens become elements directly, so no text of a model is ever parsed as
 * HTML, except in `HtmlView`.
 */

import { Lexer } from "marked";
import { h } from "preact";

import { html } from "../html.js";
import { formattingTag, HtmlView } from "./clean_html.js";
import { CodeView } from "./code_view.js";
import { decoded } from "./entities.js";
import { FORMULAS } from "./formulas.js";

const OPTIONS = { gfm: true, breaks: true, ...FORMULAS };
/** Markers at the beginning of a line that nest more deeply than anybody reads. The parser recurses for each. */
const DEEP = /^(?:\s*(?:>|[-*+]\s|\d{1,9}[.)]\s)){12}/m;

/** Returns the elements of a block's source. `isClosed` is whether its code can be coloured. */
export function elementsOf(source, isClosed) {
  return DEEP.test(source) ? html`<p class="source">${source}</p>` : blocks(new Lexer(OPTIONS).lex(source), isClosed);
}

/** Returns the parser's table (`header`, `rows`, `align`) for a source that is one table, and null for any other. */
export function tableOf(source) {
  const tokens = new Lexer(OPTIONS).lex(source).filter(({ type }) => type !== "space");
  return tokens.length === 1 && tokens[0].type === "table" ? tokens[0] : null;
}

/** The rows of a table's body. */
export function rowsOf({ rows, align }) {
  return rows.map((cells) => html`<tr>${cells.map((cell, place) => cellOf("td", cell, align[place]))}</tr>`);
}

export function headOf({ header, align }) {
  return html`<thead><tr>${header.map((cell, place) => cellOf("th", cell, align[place]))}</tr></thead>`;
}

function cellOf(tag, { tokens }, align) {
  return h(tag, { class: align ? `is-${align}` : null, dir: "auto" }, inline(tokens));
}

function blocks(tokens, isClosed) {
  return tokens.map((token, place) => block(token, place, isClosed));
}

function block(token, place, isClosed) {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return html`<h3 class="level-${token.depth}" dir="auto">${inline(token.tokens)}</h3>`; // models skip levels
    case "paragraph":
      return html`<p dir="auto">${inline(token.tokens)}</p>`;
    case "text":
      return token.tokens ? inline(token.tokens) : decoded(token.text);
    case "checkbox":
      return html`<span class="checkbox" role="img" aria-label=${token.checked ? "Done" : "Not done"}>
        ${token.checked ? "☑" : "☐"}
      </span>`;
    case "code":
      return html`<${CodeView} pieces=${[{ key: 0, source: token.text, isClosed }]} info=${token.lang ?? ""} />`;
    case "blockquote":
      return html`<blockquote>${blocks(token.tokens, isClosed)}</blockquote>`;
    case "list":
      return list(token, isClosed);
    case "table":
      return html`<div class="table"><table>${headOf(token)}<tbody>${rowsOf(token)}</tbody></table></div>`;
    case "hr":
      return html`<hr />`;
    case "formula_block":
      return html`<p class="formula" dir="ltr">${token.text}</p>`;
    case "html":
      return html`<${HtmlView} key=${place} source=${token.raw} />`;
    default:
      return token.raw;
  }
}

function list({ ordered, start, items, loose }, isClosed) {
  const about = { class: loose ? "is-loose" : null, ...(ordered && start !== 1 && { start }) };
  return h(ordered ? "ol" : "ul", about, items.map(({ tokens, task }) => html`
    <li dir="auto" class=${task ? "is-task" : null}>${blocks(tokens, isClosed)}</li>
  `));
}

/** The elements of inline tokens. A formatting tag of HTML encloses the tokens up to its end. */
function inline(tokens) {
  const elements = [];
  for (let place = 0; place < tokens.length; place += 1) {
    const token = tokens[place];
    const tag = token.type === "html" ? formattingTag(token.raw) : null;
    const end = tag && !tag.isEnd && !tag.isEmpty ? endOf(tokens, place, tag.name) : -1;
    if (tag?.isEmpty) elements.push(h(tag.name));
    else if (end < 0) elements.push(span(token));
    else {
      elements.push(h(tag.name, null, inline(tokens.slice(place + 1, end))));
      place = end;
    }
  }
  return elements;
}

function endOf(tokens, start, name) {
  return tokens.findIndex(({ type, raw }, place) => {
    const tag = place > start && type === "html" ? formattingTag(raw) : null;
    return tag !== null && tag.isEnd && tag.name === name;
  });
}

function span(token) {
  switch (token.type) {
    case "text":
      return token.tokens ? inline(token.tokens) : decoded(token.text);
    case "escape":
      return token.text;
    case "strong":
    case "em":
    case "del":
      return h(token.type, null, inline(token.tokens));
    case "codespan":
      return html`<code>${token.text}</code>`;
    case "formula":
      return html`<span class="formula" dir="ltr">${token.text}</span>`;
    case "br":
      return html`<br />`;
    case "checkbox":
      return block(token);
    case "link":
      return link(token, inline(token.tokens));
    case "image":
      return link(token, `🖼 ${token.text || token.href}`);
    default:
      return token.raw;
  }
}

/** A link that opens in a new tab. One that isn't of the web is shown as its source. An image is only linked. */
function link({ href, raw }, content) {
  const url = webUrl(href);
  if (url === null) return raw;
  return html`<a
    href=${url}
    title=${url}
    target="_blank"
    rel="noopener noreferrer nofollow"
    referrerpolicy="no-referrer"
  >
    ${content}
  </a>`;
}

function webUrl(href) {
  const url = URL.parse(decoded(href));
  return url !== null && ["http:", "https:"].includes(url.protocol) ? url.href : null;
}
