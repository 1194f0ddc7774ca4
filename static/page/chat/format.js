/** Numbers, times, amounts of money and JSON as people read them. */

import { prettyJson } from "agent-stream";

const NUMBER = new Intl.NumberFormat("en");

export function count(number, one, many) {
  return `${NUMBER.format(number)} ${number === 1 ? one : many}`;
}

/** `840 ms`, `3.1 s`, `42 s`, `2 min 5 s`, `3 h 10 min`. */
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

const CENTS = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const SMALL_AMOUNT = new Intl.NumberFormat("en", { style: "currency", currency: "USD", minimumSignificantDigits: 2, maximumSignificantDigits: 2 });
const SMALLEST_SHOWN = 0.0001;

/** `$12.35`, `$0.0021`, `< $0.0001`, `$0`. */
export function dollars(amount) {
  if (amount === 0) return "$0";
  if (amount < SMALLEST_SHOWN) return `< $${SMALLEST_SHOWN}`;
  return (amount < 0.1 ? SMALL_AMOUNT : CENTS).format(amount);
}

/** Returns what a usage cost: `$0.0021`, `price unknown` if only its tokens are known, or null if it has neither. */
export function cost(usage) {
  if (usage?.cost_usd !== undefined) return dollars(usage.cost_usd);
  return usage?.input_tokens || usage?.output_tokens || usage?.total_tokens ? "price unknown" : null;
}

/** `12 kB`, `3.4 MB`. */
export function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1000))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * JSON in lines, with escapes for characters that can't be seen, or that reverse the text around them. It is the same JSON, and
 * its numbers keep their digits. Throws a SyntaxError if it isn't JSON.
 */
export function visibleJson(json) {
  const hidden = /[\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
  const escape = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return prettyJson(json).replace(hidden, escape);
}
