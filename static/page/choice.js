/** Keeps what the user has chosen (model, tools, parameters) for the next visit. */

import { NO_CHOICE, store } from "./store.js";

const KEY = "agent-stream-choice";
const isText = (value) => typeof value === "string";
const isList = (value) => Array.isArray(value) && value.every(isText);

/** The checks that a stored value has to pass. Another version of the page may have stored others. */
const FITS = {
  model: isText,
  tools: isList,
  mcp_servers: isList,
  asks_first: (value) => typeof value === "boolean",
  instructions: isText,
  temperature: Number.isFinite,
  max_tokens: Number.isFinite,
  reasoning_effort: isText,
};

/** Changes what the next question is sent with. */
export function choose(patch) {
  store.set(({ choice }) => ({ choice: { ...choice, ...patch } }));
}

/** Reads the last choice, and stores each change of it. A scenario is for this visit only. */
export function followChoice() {
  store.set({ choice: { ...NO_CHOICE, ...stored() } });
  let before = store.get().choice;
  store.subscribe(() => {
    const { choice } = store.get();
    if (choice === before) return;
    before = choice;
    keep(choice);
  });
}

function stored() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return Object.fromEntries(Object.entries(kept ?? {}).filter(([name, value]) => FITS[name]?.(value)));
  } catch {
    return {}; // nothing readable is stored, or the browser denies access
  }
}

function keep(choice) {
  try {
    localStorage.setItem(KEY, JSON.stringify(choice));
  } catch {
    // The browser denies access: the choice is for this visit only.
  }
}
