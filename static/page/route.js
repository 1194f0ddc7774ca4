/** The URL and the state, in both directions: `?session=…&run=…&seq=…`. docs/page.md describes each parameter. */

import { addEntry, closeDrawer, drawerOfEntry, endsClosing, openNamedDrawer } from "./drawers.js";
import { newSessionId, store } from "./store.js";

const NAMES = ["session", "run", "seq", "replay", "tab", "list", "compare", "question"];
const SIDES = 2; // of a comparison
const LONGEST_QUESTION = 1_000; // characters: a URL can't have any length

/** The rest of a route at a session's latest run. */
const AT_LATEST = { run: null, seq: null, replay: null };

/** Returns what a query string names. What is not there is null. */
function parseRoute(search) {
  const query = new URLSearchParams(search);
  const named = (name) => query.get(name) || null;
  return {
    session: named("session"),
    run: named("run"),
    seq: wholeNumber(named("seq"), 1),
    replay: wholeNumber(named("replay"), 0),
    tab: named("tab"),
    list: named("list"),
    compare: query.has("compare") ? Array.from({ length: SIDES }, (_, place) => query.getAll("compare")[place] ?? "") : null,
    question: named("question"),
  };
}

/** Returns the number that a text is, or null if it isn't a whole number from `least` on. */
function wholeNumber(text, least) {
  return text !== null && /^\d{1,9}$/.test(text) && Number(text) >= least ? Number(text) : null;
}

/** Returns the query string of a route, with its question mark, or "" for a new chat. */
export function formatRoute(route) {
  const values = NAMES.flatMap((name) => [route[name] ?? []].flat().map((value) => [name, String(value)]));
  const query = new URLSearchParams(values.filter(([name, value]) => name !== "question" || value.length <= LONGEST_QUESTION));
  return query.size > 0 ? `?${query}` : "";
}

/**
 * Changes the route and the URL. A change of the session or the run is an entry of the history, and so is opening or closing a
 * comparison, so that Back returns to the former one. `replace` makes no entry. `closes` closes an open drawer. Once a session has the draft's id, the next
 * new chat needs another.
 */
export function navigate(patch, { replace = false, closes = false } = {}) {
  const before = store.get().route;
  const route = { ...before, ...patch };
  const isOther = route.session !== before.session || route.run !== before.run;
  const isEntry = !replace && (isOther || (route.compare === null) !== (before.compare === null));
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

/** Shows a session that is asked a question, at the run that this begins. */
export function followSession(session) {
  navigate({ session, ...AT_LATEST });
}

/** Shows an empty chat, whose id enters the URL with its first question. */
export function newChat() {
  store.set({ draft: newSessionId() });
  navigate({ session: null, ...AT_LATEST }, { closes: true });
}

/** Shows a session, at its latest run. */
export function openSession(session) {
  navigate({ session, ...AT_LATEST }, { closes: true });
}

/** Shows a run in the inspector, and its branch of its session in the chat. */
export function openRun({ session_id = null, run_id }) {
  navigate({ session: session_id, ...AT_LATEST, run: run_id }, { closes: true });
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
  openNamedDrawer(store.get().route);
}

function readEntry() {
  store.set({ route: parseRoute(location.search), drawer: drawerOfEntry() });
}
