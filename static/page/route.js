/** The URL and the state, in both directions: `?session=…&run=…&seq=…`. */

import { addEntry, closeDrawer, drawerOfEntry, endsClosing } from "./drawers.js";
import { newSessionId, store } from "./store.js";

const NAMES = ["session", "run", "seq"];

/** Returns what a query string names. What is not there is null. */
function parseRoute(search) {
  const query = new URLSearchParams(search);
  const seq = Number(query.get("seq"));
  return {
    session: query.get("session") || null,
    run: query.get("run") || null,
    seq: Number.isInteger(seq) && seq > 0 ? seq : null,
  };
}

/** Returns the query string of a route, with its question mark, or "" for a new chat. */
export function formatRoute(route) {
  const query = new URLSearchParams(NAMES.filter((name) => route[name]).map((name) => [name, route[name]]));
  return query.size > 0 ? `?${query}` : "";
}

/**
 * Changes the route and the URL. A change of the session or the run is an entry of the history, so that Back returns to
 * the former one. `replace` makes no entry. `closes` closes an open drawer. Once a session has the draft's id, the next
 * new chat needs another.
 */
export function navigate(patch, { replace = false, closes = false } = {}) {
  const before = store.get().route;
  const route = { ...before, ...patch };
  const isEntry = !replace && (route.session !== before.session || route.run !== before.run);
  if (isEntry) addEntry(urlOf(route), { stays: !closes });
  else keepEntry(route);
  if (NAMES.some((name) => route[name] !== before[name])) setRoute(route);
  if (closes) closeDrawer();
}

function setRoute(route) {
  const { draft, begun } = store.get();
  store.set({ route, ...(route.session === draft && { draft: newSessionId(), begun: [...begun, draft] }) });
}

/** Changes the URL of the history's present entry. */
function keepEntry(route) {
  history.replaceState(history.state, "", urlOf(route));
}

function urlOf(route) {
  return location.pathname + formatRoute(route);
}

/** Shows an empty chat, whose id enters the URL with its first question. */
export function newChat() {
  store.set({ draft: newSessionId() });
  navigate({ session: null, run: null, seq: null }, { closes: true });
}

/** Shows a session, at its latest run. */
export function openSession(session) {
  navigate({ session, run: null, seq: null }, { closes: true });
}

/** Shows a run in the inspector, and its branch of its session in the chat. */
export function openRun({ session_id = null, run_id }) {
  navigate({ session: session_id, run: run_id, seq: null }, { closes: true });
}

/** Handles a link's click with `open`, unless the user asks the browser for another tab or window. */
export function onPlainClick(open) {
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open();
  };
}

/** Reads the URL now, and whenever the user goes back or forward. A drawer that was closed leaves its URL behind. */
export function followUrl() {
  window.addEventListener("popstate", () => {
    if (endsClosing()) keepEntry(store.get().route);
    readEntry();
  });
  readEntry();
}

function readEntry() {
  store.set({ route: parseRoute(location.search), drawer: drawerOfEntry() });
}
