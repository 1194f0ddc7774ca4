// Splits growing markdown into blocks. A closed block never changes again, so it is parsed and drawn once.
//
// A block ends at a blank line, at fenced code, and at LIMIT characters, because each block is parsed in one task, and
// the parser takes quadratic time for some texts (2 s for 30,000 characters of `_a_`).

/** The characters after which a block continues in another one. Lines and list items may be twice as long. */
export const LIMIT = 2000;

const FENCE = /^(\s*(?:(?:[-*+]|\d{1,9}[.)])\s+)?)(`{3,}|~{3,})\s*([^`]*)$/;
const ITEM = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:\s|$)/;
const INDENTED = /^(?: {2}|\t)/;
const DELIMITER_ROW = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

/**
 * Returns `{text, blocks}` for a text that has grown. `before` is the former result, if there is one.
 *
 * A block is `{key, kind, source, group, isClosed}`. The kind is `code`, with `info` (the words after the fence) and
 * `isNested` (whether it is in a list), or `table`, or `text`. A long table or code continues in other blocks with the
 * same `group`. The source of each block of a table begins with the table's first two lines.
 */
export function growBlocks(before, text, isWhole) {
  const isGrown = before !== null && text.startsWith(before.text);
  const closed = isGrown ? before.blocks.filter(({ isClosed }) => isClosed) : [];
  return { text, blocks: new Splitter(text, closed).split(isWhole) };
}

class Splitter {
  constructor(text, closed) {
    this.text = text;
    this.blocks = closed;
    this.block = null;
  }

  split(isWhole) {
    for (const line of linesOf(this.text, this.blocks.at(-1)?.end ?? 0)) {
      if (line.isEnded || isWhole) this.take(line);
      else this.takeUnfinished(line);
    }
    if (this.block !== null) this.push(isWhole);
    return this.blocks;
  }

  take(line) {
    if (this.block === null && this.blocks.at(-1)?.isCut) this.block = restOf(this.blocks.at(-1), line);
    if (this.block?.kind === "code") return this.takeCode(line);
    const fence = FENCE.exec(line.text);
    if (fence) return this.openCode(line, fence);
    if (line.text.trim() === "") return this.takeBlank(line);
    if (this.endsBefore(line)) this.closeBefore(line);
    if (this.isDelimiterRow(line)) this.openTable(line);
    this.extend(line);
  }

  /** Shows the beginning of a line where it will probably belong. It may also become a fence. */
  takeUnfinished(line) {
    const isMark = this.block?.kind === "code" && /^\s*(`+|~+)$/.test(line.text);
    if (!isMark) this.extend(line);
  }

  takeCode(line) {
    const { fence, start } = this.block;
    const mark = line.text.trim();
    const isFence = mark.length >= fence.length && mark === fence[0].repeat(mark.length);
    if (isFence) Object.assign(this.block, { until: line.start, end: line.end });
    else this.extend(line);
    const length = line.end - start;
    const isLong = length > LIMIT || (length > LIMIT / 2 && mark === "");
    if (isFence || isLong) this.close({ isCut: !isFence });
  }

  openCode(line, [, prefix, fence, info]) {
    const start = line.start + prefix.length;
    if (prefix.trim() !== "") this.extend({ start: line.start, end: start, text: prefix });
    this.close();
    const column = start - (this.text.lastIndexOf("\n", start - 1) + 1);
    const block = { kind: "code", group: start, start, from: line.end, end: line.end, fence, info: info.trim() };
    this.block = { ...block, indent: " ".repeat(column), isNested: column > 0 };
  }

  takeBlank(line) {
    if (this.block === null) return;
    this.extend(line);
    this.block.isBlank = true;
  }

  endsBefore({ text, end }) {
    const { block } = this;
    if (block === null || block.end === block.start) return false;
    if (block.isBlank) return !INDENTED.test(text) && !(block.isList && ITEM.test(text));
    const length = end - block.start;
    if (length <= LIMIT) return false;
    return !block.isList || ITEM.test(text) || length > 2 * LIMIT;
  }

  isDelimiterRow({ text }) {
    const { block } = this;
    if (block === null || block.kind === "table" || block.isBlank || !DELIMITER_ROW.test(text)) return false;
    return this.text.slice(block.last, block.end).includes("|");
  }

  /** Makes a table of the last line and this one. The lines before them are a block of their own. */
  openTable(line) {
    const start = this.block.last;
    this.block.end = start;
    if (start > this.block.start) this.close();
    const head = `${this.text.slice(start, line.end).trimEnd()}\n`;
    this.block = { kind: "table", group: start, start, end: line.end, head };
  }

  extend(line) {
    this.block ??= { kind: "text", group: line.start, start: line.start, isList: ITEM.test(line.text) };
    Object.assign(this.block, { last: line.start, end: line.end, isBlank: false });
  }

  closeBefore(line) {
    const isCut = !this.block.isBlank;
    this.close({ isCut });
    if (isCut) this.block = restOf(this.blocks.at(-1), line);
  }

  close({ isCut = false } = {}) {
    if (this.block === null) return;
    this.push(true, isCut);
    this.block = null;
  }

  push(isClosed, isCut = false) {
    const { block } = this;
    this.blocks.push({ ...block, key: block.start, source: this.sourceOf(block), isClosed, isCut });
  }

  sourceOf({ kind, group, start, from, until, end, head, isList, indent }) {
    if (kind === "code") return withoutIndent(this.text.slice(from, until ?? end), indent);
    const source = this.text.slice(start, end);
    if (kind === "table") return start === group ? source : head + source;
    return isList ? withoutIndent(source, /^\s*/.exec(source)[0]) : source;
  }
}

/** A block for the rest of one that was too long. It begins with this line. */
function restOf({ kind, group, isList, head, fence, info, indent, isNested }, { start }) {
  const isText = kind === "text";
  const place = { start, from: start, end: start, last: start, isBlank: false };
  return { kind, group: isText ? start : group, isList, head, fence, info, indent, isNested, ...place };
}

/** The lines of a text from `start`, with their offsets. A very long line is cut after a space. */
function* linesOf(text, start) {
  while (start < text.length) {
    const newline = text.indexOf("\n", start);
    let end = newline < 0 ? text.length : newline + 1;
    const isLong = end - start > 2 * LIMIT;
    if (isLong) end = text.lastIndexOf(" ", start + 2 * LIMIT) + 1;
    if (end <= start) end = start + 2 * LIMIT;
    yield { text: text.slice(start, end).replace(/\r?\n$/, ""), start, end, isEnded: isLong || newline >= 0 };
    start = end;
  }
}

function withoutIndent(text, indent) {
  if (indent === "") return text;
  return text.replace(new RegExp(`^[ \\t]{1,${indent.length}}`, "gm"), "");
}
