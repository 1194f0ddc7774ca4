/** A scroll position that stays at the end while the content grows, until the reader scrolls away. */

import { useCallback, useLayoutEffect, useRef, useState } from "preact/hooks";

/** The distance to the end, in pixels, that still counts as the end. */
const NEAR = 48;

/**
 * Returns `{scroller, content, isAway, toEnd}`: two refs, whether the reader has scrolled away, and the way back. While the
 * content `isAtStart`, such as on the welcome page, the position stays at the beginning.
 */
export function useStickToEnd(isAtStart = false) {
  const isResting = useRef(isAtStart);
  isResting.current = isAtStart;
  const scroller = useRef(null);
  const content = useRef(null);
  const isStuck = useRef(true);
  const [isAway, setAway] = useState(false);

  const toEnd = useCallback(() => {
    isStuck.current = true;
    setAway(false);
    scroller.current.scrollTop = scroller.current.scrollHeight;
  }, []);

  useLayoutEffect(() => follow(scroller.current, content.current, { isStuck, isResting }, setAway), []);
  return { scroller, content, isAway, toEnd };
}

function follow(scroller, content, { isStuck, isResting }, setAway) {
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
    if (isStuck.current && !isResting.current) scroller.scrollTop = scroller.scrollHeight;
  });
  grown.observe(content);
  grown.observe(scroller);
  scroller.addEventListener("scroll", onScroll, { passive: true });
  return () => {
    grown.disconnect();
    scroller.removeEventListener("scroll", onScroll);
  };
}
