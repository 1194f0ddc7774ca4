/** Numbers of a run as people read them. One that isn't known is a dash. */

import { dollars as knownDollars, duration as knownDuration } from "../chat/format.js";

const UNKNOWN = "–";
const isKnown = (number) => number !== null && number !== undefined;

/** Returns a time in ms as text, such as "61 ms" or "3.1 s". */
export const duration = (ms) => (isKnown(ms) ? knownDuration(ms) : UNKNOWN);

/** Returns a count as text, such as "1,234". */
export const count = (number) => (isKnown(number) ? number.toLocaleString("en") : UNKNOWN);

/** Returns an amount in US dollars as text, such as "$0.0021". */
export const dollars = (amount) => (isKnown(amount) ? knownDollars(amount) : UNKNOWN);

/** Returns a number of tokens per second as text, such as "42" or "3.1". */
export const speed = (perS) => (perS !== null && perS < 10 ? perS.toFixed(1) : count(perS && Math.round(perS)));

/** Returns a number of bytes as text, such as "214 B" or "1.4 kB". */
export const bytes = (number) => (number < 1_000 ? `${number} B` : `${(number / 1_000).toFixed(1)} kB`);
