/* The time, for parts that change while a run is under way. */

import { useEffect, useState } from "preact/hooks";

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
