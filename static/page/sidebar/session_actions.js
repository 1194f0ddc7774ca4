/** The actions on a session in the list: open, rename, delete. Each reports an error as text, or null. */

import { api } from "../api.js";
import { patchSession } from "../lists.js";
import { sessionPath } from "../paths.js";
import { newChat } from "../route.js";
import { store } from "../store.js";

export function titleOf({ title, session_id }) {
  return title?.trim() || session_id;
}

/** Gives a session another title. Without one, the list shows its id. */
export function rename(id, title) {
  return reported(async () => {
    const changed = await api(sessionPath(id), { method: "PATCH", body: { title: title.trim() || null } });
    patchSession(id, changed);
  });
}

/** Deletes a session with its runs. If it is shown, a new chat takes its place. */
export function remove(id) {
  return reported(async () => {
    await api(sessionPath(id), { method: "DELETE" });
    patchSession(id, null);
    if (store.get().route.session === id) newChat();
  });
}

async function reported(action) {
  try {
    await action();
    return null;
  } catch (error) {
    return error.message;
  }
}
