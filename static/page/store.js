/** The state that the page's parts share, and the hooks that read it. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";

/** Makes a store. `set` merges a patch, or what a function makes of the state, and calls every listener. */
export function createStore(initial) {
  let state = initial;
  const listeners = new Set();
  return {
    get: () => state,
    set(patch) {
      state = { ...state, ...(typeof patch === "function" ? patch(state) : patch) };
      for (const listener of [...listeners]) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

export const NO_CHOICE = {
  model: null,
  /** Names of Python tools, or null for the service's default. */
  tools: null,
  mcp_servers: [],
  /** Whether a person is asked before each call of `tools`. */
  asks_first: false,
  instructions: "",
  temperature: null,
  max_tokens: null,
  reasoning_effort: null,
  scenario: null,
};

export const NOT_LOADED = { items: [], cursor: null, isLoaded: false, error: null };

export const store = createStore({
  /**
   * What the URL names. `seq` is the number of an event of `run`, and `replay` the event at which its replay stands. `tab` is the
   * inspector's, and `list` the sidebar's. `compare` has both sides of the comparison: the name of a model, or the id of its run.
   */
  route: { session: null, run: null, seq: null, replay: null, tab: null, list: null, compare: null, question: null },
  /** The id that the next new chat gets when its first question is asked. No session has it yet. */
  draft: newSessionId(),
  /** The sessions that began on this page. The list has each as soon as the service does. */
  begun: [],
  /** What the next question is sent with. `scenario` is a script of simulate, instead of a model. */
  choice: NO_CHOICE,
  /** The lists of the service. Each is null until it is loaded. `ready` and `models` are whole bodies of responses. */
  catalog: { ready: null, models: null, tools: null, defaultTools: null, mcpServers: null },
  /** Pages of lists: `items`, `cursor` of the next page or null, and `error` if loading failed. */
  sessions: NOT_LOADED,
  runs: NOT_LOADED,
  /** The sessions whose titles have the words of the search. */
  found: { ...NOT_LOADED, words: "" },
  /** The events of the shown run: `{ event, json, bytes, receivedAt }`, in order. */
  frames: [],
  /** The latest question as it was sent: `{ path, headers, body, runId }`. */
  lastRequest: null,
  /** The run that is played again, with the `messages` and `status` that the chat shows, or null (`inspector/replay.js`). */
  replay: null,
  /** Which side is open as a drawer on a narrow window ("sidebar", "inspector" or null). */
  drawer: null,
  /** Whether the window has room for three columns, and whether the inspector has its column there. */
  isWide: true,
  isInspecting: true,
});

export function newSessionId() {
  return `chat-${Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(36).padStart(2, "0")).join("")}`;
}

/** Returns what `read` returns, and renders again when `source` reports a change of it. */
export function useExternal(source, read) {
  const latest = useRef(read);
  latest.current = read;
  const [, show] = useState(read);
  useLayoutEffect(() => {
    const check = () => show(() => latest.current());
    check();
    return source.subscribe(check);
  }, [source]);
  return read();
}

/** Returns the part of the state that `select` picks. It has to return the same object while that part is the same. */
export function useStore(select) {
  return useExternal(store, () => select(store.get()));
}
