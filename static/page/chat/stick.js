/** A scroll position that stays at the end while the content grows, until the reader scrolls away. */

import { useCallback, useLayoutEffect, useRef, useState } from "preact/hooks";

/** The distance to the end, in pixels, that still counts as the end. */
const NEAR = 48;

/** Returns `{scroller, content, isAway, toEnd}`: two refs, whether the reader has scrolled away, and the way back. */
export function useStickToEnd() {
  const scroller = useRef(null);
  const content = useRef(null);
  const isStuck = useRef(true);
  const [isAway, setAway] = useState(false);

  const toEnd = useCallback(() => {
    isStuck.current = true;
    setAway(false);
    scroller.current.scrollTop = scroller.current.scrollHeight;
  }, []);

  useLayoutEffect(() => follow(scroller.current, content.current, isStuck, setAway), []);
  return { scroller, content, isAway, toEnd };
}

function follow(scroller, content, isStuck, setAway) {
  let before = scroller.scrollTop;
  const onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = scroller;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    if (isAtEnd) isStuck.current = true;
    else if (scrollTop < before) isStuck.current = false; // growing content alone never scrolls up
    before = scrollTop;
    setAway(!isStuck.current);
  };
  const grown = new ResizeObserver(() => {
    if (isStuck.current) scroller.scrollTop = scroller.scrollHeight;
  });
  grown.observe(content);
  grown.observe(scroller);
  scroller.addEventListener("scroll", onScroll, { passive: true });
  return () => {
    grown.disconnect();
    scroller.removeEventListener("scroll", onScroll);
  };
}
