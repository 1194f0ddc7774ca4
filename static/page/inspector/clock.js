/** Time, for parts that change while a run is under way. */

import { useEffect, useRef, useState } from "preact/hooks";

const TICK_MS = 100;

/** Returns performance.now(), and renders again every 100 ms while `runs`. */
export function useClock(runs) {
  const [now, show] = useState(() => performance.now());
  useEffect(() => {
    if (!runs) return undefined;
    const ticking = setInterval(() => show(performance.now()), TICK_MS);
    return () => clearInterval(ticking);
  }, [runs]);
  return runs ? Math.max(now, performance.now()) : now;
}

/** Returns a value that changes often, at most every `ms`: a chart of 10,000 tokens takes 30 ms to be drawn. */
export function useAtMostEvery(ms, value) {
  const [shown, show] = useState(value);
  const latest = useRef(value);
  const timer = useRef(null);
  latest.current = value;
  useEffect(() => {
    if (value === shown || timer.current !== null) return;
    timer.current = setTimeout(() => {
      timer.current = null;
      show(latest.current);
    }, ms);
  }, [value, shown]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return shown;
}
