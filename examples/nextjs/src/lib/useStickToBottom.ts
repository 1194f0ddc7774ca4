import { useCallback, useEffect, useRef, useState } from "react";

/** The distance to the end, in pixels, that counts as the end. */
const NEAR = 48;

/** Keeps a scroller at its end while its content grows, until the reader scrolls up. */
export function useStickToBottom() {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const isStuck = useRef(true);
  const [isAway, setAway] = useState(false);

  const toBottom = useCallback(() => {
    isStuck.current = true;
    scroller.current?.scrollTo({ top: scroller.current.scrollHeight });
  }, []);

  useEffect(() => {
    const box = scroller.current;
    if (!box || !content.current) return;
    let before = 0;
    const onScroll = () => {
      const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
      if (isAtEnd) isStuck.current = true;
      else if (box.scrollTop < before) isStuck.current = false; // growing content never scrolls up
      before = box.scrollTop;
      setAway(!isStuck.current);
    };
    const grown = new ResizeObserver(() => isStuck.current && box.scrollTo({ top: box.scrollHeight }));
    grown.observe(content.current);
    grown.observe(box);
    box.addEventListener("scroll", onScroll, { passive: true });
    return () => {
      grown.disconnect();
      box.removeEventListener("scroll", onScroll);
    };
  }, []);

  return { scroller, content, isAway, toBottom };
}
