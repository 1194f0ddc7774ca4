/** Text fields that grow with their text, and are sent with Enter. */

import { useLayoutEffect } from "preact/hooks";

/** Makes a textarea as high as its text. Its style sheet limits it. */
export function useGrowingField(field, text) {
  useLayoutEffect(() => {
    const { style, offsetHeight, clientHeight } = field.current;
    style.height = "auto";
    style.height = `${field.current.scrollHeight + offsetHeight - clientHeight}px`;
  }, [text]);
}

const IN_COMPOSITION = 229; // the key code of a key that the input method takes

/**
 * Whether a key sends the text. Shift+Enter is a new line, and Enter may also choose a word of an input method.
 *
 * Safari ends the composition before the key that chooses the word, and reports only its key code (WebKit bug 165004).
 */
export function isSend(event) {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== IN_COMPOSITION;
}
