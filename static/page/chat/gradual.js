/** Draws long lists in slices, so that no task is long. */

import { useEffect, useState } from "preact/hooks";

import { whenIdle } from "./idle.js";

/** Returns how many of `length` items to draw: at first `first`, and `step` more whenever the page is idle. */
export function useGradual(length, first, step) {
  const [drawn, setDrawn] = useState(first);
  const isWhole = drawn >= length;
  useEffect(() => (isWhole ? undefined : whenIdle(() => setDrawn(drawn + step))), [isWhole, drawn, step]);
  return Math.min(drawn, length);
}
