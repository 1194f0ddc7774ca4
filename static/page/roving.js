/** Arrow keys in a list: one of its entries is in the tab order, and the arrows move between them. */

const STEPS = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };

/** Handles a list's `keydown`. The entries are what `selector` finds in it. */
export function moveFocus(event, selector) {
  const entries = [...event.currentTarget.querySelectorAll(selector)];
  const place = entries.indexOf(document.activeElement);
  if (!(event.key in STEPS) || place < 0) return;
  event.preventDefault();
  entries[Math.min(Math.max(place + STEPS[event.key], 0), entries.length - 1)].focus();
}
