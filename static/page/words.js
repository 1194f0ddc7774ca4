/** Searches in short texts, as the lists and pickers do. */

/** Returns whether a text has all of these words, in any order. Upper and lower case are the same. */
export function hasWords(text, words) {
  const searched = text.toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => searched.includes(word));
}
