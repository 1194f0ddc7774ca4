/**
 * The drawers of a narrow window. An open drawer is an entry of the browser's history, so Back closes it.
 *
 * The state of an entry that the page has made is `{ drawer }`, with the drawer that is open there or null. An entry without a state
 * was made by a link or by a person who opened its URL.
 */

import { store } from "./store.js";

/** The widths at which a side is a drawer, as in `layout.css`. */
const WIDTHS = { sidebar: matchMedia("(width < 44rem)"), inspector: matchMedia("(width < 70rem)") };

const NO_DRAWER = { drawer: null };

let isClosing = false;

/** Whether a side ("sidebar" or "inspector") is a drawer at the window's present width. */
export function isDrawer(name) {
  return WIDTHS[name].matches;
}

/** Follows the window's width. A drawer that was open at another width is closed. */
export function followWidth() {
  const look = () => store.set({ isWide: !isDrawer("inspector") });
  for (const width of Object.values(WIDTHS)) {
    width.addEventListener("change", () => {
      look();
      closeDrawer();
    });
  }
  look();
}

/** Opens a drawer, instead of the other one if that is open. */
export function openDrawer(name) {
  if (store.get().drawer === null) {
    history.replaceState(NO_DRAWER, "");
    history.pushState({ drawer: name }, "");
  } else {
    history.replaceState({ drawer: name }, "");
  }
  store.set({ drawer: name });
}

/** Opens the drawer of what a URL names, when it was opened as a URL. A comparison is above both of them. */
export function openNamedDrawer({ tab, seq, list, compare }) {
  if (isOfPage() || compare !== null) return;
  if (isDrawer("inspector") && (tab !== null || seq !== null)) openDrawer("inspector");
  else if (isDrawer("sidebar") && list !== null) openDrawer("sidebar");
}

/** Whether the page has made the present entry of the history: Back then stays at the page. */
export function isOfPage() {
  return history.state !== null;
}

/** Shows the inspector: its column on a wide window, and its drawer on others. */
export function showInspector() {
  const { isWide, drawer } = store.get();
  if (isWide) store.set({ isInspecting: true });
  else if (drawer !== "inspector") openDrawer("inspector");
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

/** Returns the drawer that the present entry of the history has, or null. */
export function drawerOfEntry() {
  const drawer = history.state?.drawer;
  return drawer && isDrawer(drawer) ? drawer : null;
}

/** Makes an entry for another URL. An open drawer gives its entry to the URL, and gets another if it `stays`. */
export function addEntry(url, { stays }) {
  const { drawer } = store.get();
  history[drawer === null ? "pushState" : "replaceState"](NO_DRAWER, "", url);
  if (drawer !== null && stays) history.pushState({ drawer }, "");
  if (!stays) store.set({ drawer: null });
}
