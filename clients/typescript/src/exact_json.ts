/* JSON whose numbers keep every digit. JavaScript's numbers round whole numbers beyond 2^53, and `1.0` becomes `1`. */

import { newKey } from "./environment";

/** A sign, the quote at the beginning of a string, or another value of a JSON text. */
const TOKEN = /["[\]{}:,]|[^\s[\]{}:,"]+/g;
const WHOLE_NUMBER = /^-?\d+$/;

/** Yields the tokens of JSON, each with its place. A string is one token. */
function* tokensOf(json: string): Generator<[token: string, index: number]> {
  const next = new RegExp(TOKEN);
  for (let found = next.exec(json); found; found = next.exec(json)) {
    if (found[0] === '"') next.lastIndex = endOfString(json, found.index);
    yield [json.slice(found.index, next.lastIndex), found.index];
  }
}

/** Returns the place after a string. A regular expression for a string has no room for one with millions of escapes. */
function endOfString(json: string, start: number): number {
  for (let end = json.indexOf('"', start + 1); end >= 0; end = json.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (json[end - 1 - backslashes] === "\\") backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
  }
  return json.length;
}

/** An object or a list around a token: its value, and the key whose value comes next. */
interface Place {
  value: unknown;
  key: string | number;
}

/**
 * Parses JSON of the service. Each object with the `arguments` of a call also gets their JSON as `arguments_text`, and each one
 * with the `data` of an answer gets `data_text`. What is inside arguments and data stays as it is: it is not the service's.
 */
export function parse<T>(json: string): T {
  const value = JSON.parse(json) as T;
  if (json.includes('"arguments"') || json.includes('"attempts"')) addTexts(value, json);
  return value;
}

const isObject = (value: unknown): value is Record<string | number, unknown> => typeof value === "object" && value !== null;

/** The key for the text of the value that comes next, if it gets one. An answer has `attempts`; an event has `data`, too. */
function textKey({ value, key }: Place, token: string): string | undefined {
  if (!isObject(value)) return undefined;
  if (key === "arguments" && token === "{") return "arguments_text";
  return key === "data" && typeof value["attempts"] === "number" ? "data_text" : undefined;
}

/** Adds the texts to the objects in a value, whose JSON is given. */
function addTexts(root: unknown, json: string): void {
  const places: Place[] = [{ value: { root }, key: "root" }];
  let texted: { object: Record<string, unknown>; key: string; start: number; depth: number } | undefined; // the token is in it
  let before = "";
  for (const [token, index] of tokensOf(json)) {
    const place = places.at(-1)!;
    if (token === ":") place.key = JSON.parse(before) as string;
    if (token === "," && typeof place.key === "number") place.key += 1;
    const key = before === ":" && !texted ? textKey(place, token) : undefined;
    if (key) texted = { object: place.value as Record<string, unknown>, key, start: index, depth: places.length };
    if (token === "{" || token === "[") {
      places.push({ value: isObject(place.value) ? place.value[place.key] : undefined, key: token === "[" ? 0 : "" });
    } else if (token === "}" || token === "]") {
      places.pop();
    }
    if (texted && places.length === texted.depth) {
      texted.object[texted.key] = laidOut(json.slice(texted.start, index + token.length), "");
      texted = undefined;
    }
    before = token;
  }
}

/** Returns the JSON of a value, or a text that is JSON already. */
export const jsonOf = (body: object | string): string => (typeof body === "string" ? body : stringify(body));

/** Returns the JSON of a value. Bigints become whole numbers with every digit. */
export function stringify(value: object): string {
  const mark = newKey(); // random, so that no string begins with it, even on purpose
  const marked = JSON.stringify(value, (_, part: unknown) => (typeof part === "bigint" ? `${mark}${part}` : part));
  return marked.replace(new RegExp(`"${mark}(-?\\d+)"`, "g"), "$1");
}

/** Returns JSON in lines, as `JSON.stringify` lays it out, but with each number as it is written. Throws a SyntaxError. */
export function prettyJson(json: string): string {
  JSON.parse(json);
  return laidOut(json, "  ");
}

/** Returns JSON in lines that are indented by `indent`, or without white space if that is empty. */
function laidOut(json: string, indent: string): string {
  const colon = indent ? ": " : ":";
  let depth = 0;
  let before = "";
  let text = "";
  for (const [token] of tokensOf(json)) {
    const closes = token === "}" || token === "]";
    const opened = before === "{" || before === "[";
    if (closes) depth -= 1;
    if (indent && (before === "," || closes !== opened)) text += `\n${indent.repeat(depth)}`;
    if (token === "{" || token === "[") depth += 1;
    text += token === ":" ? colon : token.startsWith('"') ? JSON.stringify(JSON.parse(token)) : token;
    before = token;
  }
  return text;
}

/** Parses JSON. Whole numbers that JavaScript's numbers can't hold become bigints. Throws a SyntaxError. */
export function parseWithBigints(json: string): unknown {
  JSON.parse(json);
  const mark = newKey();
  const marked = Array.from(tokensOf(json), ([token]) => (isRounded(token) ? `"${mark}${token}"` : token));
  return JSON.parse(marked.join(""), (_, value: unknown) =>
    typeof value === "string" && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value,
  );
}

const isRounded = (token: string) => WHOLE_NUMBER.test(token) && !Number.isSafeInteger(Number(token));
