/** The lists of sessions and runs in the store: loads their pages and keeps them current. */

import { api } from "./api.js";
import { sessionPath } from "./paths.js";
import { store } from "./store.js";

const PAGE = 30;
const REFRESH_MS = 10_000;

/** Each list's path, and its entries' id and time, by which the latest come first. */
const LISTS = {
  sessions: { path: "/api/agent/sessions", id: "session_id", time: "updated_at" },
  runs: { path: "/api/agent/runs", id: "run_id", time: "created_at" },
};

/** Loads a list's first page again. What was loaded of later pages stays below it. */
export async function refresh(name) {
  const { id, time } = LISTS[name];
  await load(name, null, (page, list) => {
    const isOlder = (item) => page.cursor !== null && item[time] <= page.items.at(-1)[time];
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

/** Changes a list's entry in the store, or removes it if `change` returns null. */
export function patchEntry(name, id, change) {
  const key = LISTS[name].id;
  store.set(({ [name]: list }) => ({
    [name]: { ...list, items: list.items.map((item) => (item[key] === id ? change(item) : item)).filter(Boolean) },
  }));
}

async function load(name, cursor, merged) {
  const query = new URLSearchParams({ limit: PAGE, ...(cursor && { cursor }) });
  let change;
  try {
    const { [name]: items, next_cursor = null } = await api(`${LISTS[name].path}?${query}`);
    change = (list) => ({ ...merged({ items, cursor: next_cursor }, list), isLoaded: true, error: null });
  } catch (error) {
    change = (list) => ({ ...list, error: error.message });
  }
  store.set(({ [name]: list }) => ({ [name]: change(list) }));
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
