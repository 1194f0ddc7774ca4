/* JSON that is still being written. */

/** A string, which may have no end yet, a sign, or another value of a JSON text. */
const TOKEN = /"(?:[^"\\]|\\[^])*("?)|[[\]{}:,]|[^\s[\]{}:,"]+/g;
/** The beginning of an escape at the end of a text, or of the two that are one character beyond U+FFFF. */
const HALF_ESCAPE =
  /(?<!\\)((?:\\\\)*)\\(?:u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?|u[0-9a-fA-F]{0,3})?$/;
/** What may be before the value: white space, and the beginning of a code fence. */
const BEFORE = /^\s*(?:```\w*\s*)?(?=[[{])/;
const CLOSING: Record<string, string> = { "{": "}", "[": "]" };

/**
 * Returns as much of a JSON object or array as has been written, perhaps in a code fence. Undefined if there is none. The
 * last string may be a part of the one that is meant. A number or a word counts once something follows it.
 */
export function partialJson(text: string): unknown {
  const before = BEFORE.exec(text);
  if (!before) return undefined;
  try {
    return JSON.parse(closed(text.slice(before[0].length))) as unknown;
  } catch {
    return undefined;
  }
}

/** The text up to its last complete member, with the brackets closed. */
function closed(text: string): string {
  const brackets: string[] = [];
  let isKey = false;
  let member = "";
  let closing = "";
  for (const { 0: token, 1: end, index } of text.matchAll(TOKEN)) {
    const isOpening = token === "{" || token === "[";
    const isClosing = token === "}" || token === "]";
    if (isOpening) brackets.push(CLOSING[token]!);
    if (isClosing && brackets.pop() !== token) break;
    const isValue = token !== "," && token !== ":" && !isKey;
    const isWhole = end !== undefined || index + token.length < text.length;
    if (isOpening || isClosing || (isValue && isWhole)) {
      member = text.slice(0, index + token.length);
      if (end === "") member = `${member.replace(HALF_ESCAPE, "$1")}"`;
      closing = brackets.toReversed().join("");
    }
    if (brackets.length === 0) break;
    isKey = brackets.at(-1) === "}" && (token === "{" || token === "," || (isKey && token !== ":"));
  }
  return member + closing;
}
