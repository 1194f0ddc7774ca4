/** Keeps what the user has chosen (model, tools, parameters) for the next visit. */

import { NO_CHOICE, store } from "./store.js";

const KEY = "agent-stream-choice";

/** Changes what the next question is sent with. */
export function choose(patch) {
  store.set(({ choice }) => ({ choice: { ...choice, ...patch } }));
}

/** Reads the last choice, and stores each change of it. A scenario is for now only, so it isn't kept. */
export function followChoice() {
  store.set({ choice: { ...NO_CHOICE, ...stored() } });
  let before = store.get().choice;
  store.subscribe(() => {
    const { choice } = store.get();
    if (choice === before) return;
    before = choice;
    localStorage.setItem(KEY, JSON.stringify({ ...choice, scenario: null }));
  });
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    return {};
  }
}
