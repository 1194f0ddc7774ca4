/**
 * Formulas in TeX, as an extension of the parser of markdown: `$…$`, `$$…$$`, `\(…\)`, and `\[…\]` on lines of its own. They are
 * shown as they are written, because a program that draws them is larger than this page, and markdown would take their `*`, `_`
 * and `\` for its own.
 */

/**
 * A formula within a line. As in Pandoc, `$5 and $10` is money: no space is inside of the dollars, and no digit behind them. The
 * lengths are limited because the parser looks for an end behind each beginning.
 */
const SPAN = /^(?:\$\$(?:\\.|[^\\$]){1,400}\$\$|\$(?!\s)(?:\\.|[^\\$\n]){1,400}(?<!\s)\$(?!\d)|\\\((?:[^\\]|\\(?!\))){1,400}\\\))/s;
const SPANS = new RegExp(SPAN.source.slice(1), "gs");
const BLOCK = /^ {0,3}(?:\$\$(?:\\.|[^\\$]){1,1500}\$\$|\\\[(?:[^\\]|\\(?!\])){1,1500}\\\]) *(?:\n|$)/s;
const BLOCK_IN_TEXT = new RegExp(`(?<=\\n)${BLOCK.source.slice(1)}`, "s");

/** The options of the parser. Its tokens for formulas have the types `formula` and `formula_block`. */
export const FORMULAS = {
  extensions: {
    inline: [(source) => token("formula", SPAN, source)],
    startInline: [(source) => placeOf(/\$|\\\(/, source)],
    block: [(source) => token("formula_block", BLOCK, source)],
    startBlock: [(source) => placeOf(BLOCK_IN_TEXT, source)],
  },
  hooks: { emStrongMask: (source) => source.replace(SPANS, (formula) => "x".repeat(formula.length)) },
};

function token(type, pattern, source) {
  const [raw] = pattern.exec(source) ?? [];
  return raw && { type, raw, text: raw.trim() };
}

function placeOf(start, source) {
  const place = source.search(start);
  return place < 0 ? undefined : place;
}
