/** The lists of sessions and runs in the store: loads their pages and keeps them current. */

import { api } from "./api.js";
import { sessionPath } from "./paths.js";
import { NOT_LOADED, store } from "./store.js";

export const PAGE = 30;
const REFRESH_MS = 10_000;

/** Each list's path, its name in the response, and its entries' id and time, by which the latest come first. */
const SESSIONS = { path: "/api/agent/sessions", entries: "sessions", id: "session_id", time: "updated_at" };
const LISTS = {
  sessions: SESSIONS,
  found: SESSIONS,
  runs: { path: "/api/agent/runs", entries: "runs", id: "run_id", time: "created_at" },
};

/** Begins another search in the titles of sessions. Its list is empty until the service has answered. */
export function search(words) {
  store.set({ found: { ...NOT_LOADED, words } });
  return refresh("found");
}

/** Loads a list's first page again. What was loaded of later pages stays below it. */
export async function refresh(name) {
  const { id, time } = LISTS[name];
  await load(name, null, (page, list) => {
    const last = page.items.at(-1);
    const isOlder = (item) => page.cursor !== null && (!last || item[time] <= last[time]);
    const rest = without(list.items, page.items, id).filter(isOlder);
    return { items: [...page.items, ...rest], cursor: rest.length > 0 ? list.cursor : page.cursor };
  });
}

/** Loads a list's next page. */
export async function loadMore(name) {
  await load(name, store.get()[name].cursor, (page, list) => ({
    items: [...list.items, ...without(page.items, list.items, LISTS[name].id)],
    cursor: page.cursor,
  }));
}

/** Adds a session to the list that is further back than what is loaded, if the service has it. */
export async function loadSession(id) {
  const session = await api(sessionPath(id)).catch(() => null);
  if (session) store.set(({ sessions }) => ({ sessions: { ...sessions, items: [...without(sessions.items, [session], "session_id"), session] } }));
}

/** Changes a session in the lists that have it, or removes it if `changed` is null. */
export function patchSession(id, changed) {
  const patched = (list) => ({ ...list, items: list.items.map((item) => (item.session_id === id ? changed : item)).filter(Boolean) });
  store.set(({ sessions, found }) => ({ sessions: patched(sessions), found: patched(found) }));
}

async function load(name, cursor, merged) {
  const { path, entries } = LISTS[name];
  const { words } = store.get()[name];
  const query = new URLSearchParams({ limit: PAGE, ...(words && { q: words }), ...(cursor && { cursor }) });
  let change;
  try {
    const { [entries]: items, next_cursor = null } = await api(`${path}?${query}`);
    change = (list) => ({ ...list, ...merged({ items, cursor: next_cursor }, list), isLoaded: true, error: null });
  } catch (error) {
    change = (list) => ({ ...list, error: error.message });
  }
  const isAsked = store.get()[name].words === words;
  if (isAsked) store.set(({ [name]: list }) => ({ [name]: change(list) }));
}

function without(items, others, key) {
  const known = new Set(others.map((item) => item[key]));
  return items.filter((item) => !known.has(item[key]));
}

/** Refreshes a list now, and now and then while the page is visible. Returns a function that stops this. */
export function keepCurrent(name) {
  const look = () => document.visibilityState === "visible" && void refresh(name);
  look();
  const timer = setInterval(look, REFRESH_MS);
  document.addEventListener("visibilitychange", look);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", look);
  };
}
