/** Keys that work everywhere on the page, and the focus of drawers. */

import { closeDrawer, isDrawer, openDrawer } from "./drawers.js";
import { navigate } from "./route.js";
import { store } from "./store.js";

const FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex]";

/** Follows the keys: Ctrl-K or ⌘K to the search of chats, Escape to close a drawer. */
export function followKeyboard() {
  document.addEventListener("keydown", press);
  let before = null;
  store.subscribe(() => {
    const { drawer } = store.get();
    if (drawer !== before) moveFocus(before, drawer);
    before = drawer;
  });
}

function press(event) {
  const isSearch = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey;
  if (isSearch) {
    event.preventDefault();
    search();
  } else if (event.key === "Escape" && store.get().drawer && !event.defaultPrevented) {
    event.preventDefault();
    closeDrawer();
  }
}

function search() {
  if (isDrawer("sidebar")) openDrawer("sidebar");
  navigate({ list: null }, { replace: true });
  setTimeout(() => document.getElementById("search")?.focus()); // after it is drawn
}

/** Moves the focus into a drawer that was opened, and back to its button when it is closed. */
function moveFocus(before, drawer) {
  setTimeout(() => {
    if (drawer) document.querySelector(`.${drawer}.is-open :is(${FOCUSABLE})`)?.focus();
    else if (isIn(before)) openerOf(before)?.focus();
  });
}

/** Whether the focus is in the drawer that was closed, or nowhere because the browser has taken it away already. */
function isIn(drawer) {
  const { activeElement } = document;
  return activeElement === document.body || document.querySelector(`.${drawer}`).contains(activeElement);
}

function openerOf(drawer) {
  return document.querySelector(drawer === "sidebar" ? ".open-sidebar" : ".open-inspector");
}
