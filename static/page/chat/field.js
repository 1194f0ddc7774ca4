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

/** Whether a key sends the text. Shift+Enter is a new line, and Enter may also choose a word of an input method. */
export function isSend(event) {
  return event.key === "Enter" && !event.shiftKey && !event.isComposing;
}
