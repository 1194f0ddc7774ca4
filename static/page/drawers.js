/** The drawers of a narrow window. An open drawer is an entry of the browser's history, so Back closes it. */

import { store } from "./store.js";

let isClosing = false;

/** Opens a drawer ("sidebar" or "inspector"), instead of the other one if that is open. */
export function openDrawer(name) {
  const isOther = store.get().drawer !== null;
  history[isOther ? "replaceState" : "pushState"]({ drawer: name }, "");
  store.set({ drawer: name });
}

/** Closes the open drawer and leaves its entry. The browser reports this by a `popstate` event. */
export function closeDrawer() {
  if (store.get().drawer === null) return;
  isClosing = true;
  store.set({ drawer: null });
  history.back();
}

/** Returns whether a `popstate` event is the report about `closeDrawer`. */
export function endsClosing() {
  const ended = isClosing;
  isClosing = false;
  return ended;
}

/** The drawer that the present entry of the history has, or null. */
export function drawerOfEntry() {
  return history.state?.drawer ?? null;
}

/** Makes an entry for another URL. An open drawer gives its entry to the URL, and gets another if it `stays`. */
export function addEntry(url, { stays }) {
  const { drawer } = store.get();
  history[drawer === null ? "pushState" : "replaceState"](null, "", url);
  if (drawer !== null && stays) history.pushState({ drawer }, "");
  if (!stays) store.set({ drawer: null });
}
