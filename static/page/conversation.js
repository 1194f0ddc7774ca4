/** The conversation that is shown: one `Conversation` for the route's session, with what the user has chosen. */

import { Conversation } from "agent-stream";

import { BASE_URL } from "./api.js";
import { pageTools, requestedTools } from "./chat/page_tools.js";
import { forgetFrames, takeFrame } from "./frames.js";
import { faultyFetch } from "./inspector/faults.js";
import { navigate } from "./route.js";
import { createStore, store, useExternal } from "./store.js";

const STREAMS = ["/api/agent/stream", "/api/agent/stream/simulate"];

/**
 * Holds the present `Conversation`, which is replaced when another session is shown. `leave` is null until it is mounted.
 * A new chat is mounted at its first question, because the service does not have its session before.
 */
const shown = createStore({ id: null, conversation: null, leave: null });

function mount() {
  const { conversation, leave } = shown.get();
  if (!leave) shown.set({ leave: conversation.mount() });
}

function optionsFor(sessionId) {
  return {
    baseUrl: BASE_URL,
    sessionId,
    storageKey: "agent-stream",
    clientTools: pageTools,
    fetch: recordingFetch,
    onFrame: takeFrame,
  };
}

/** Passes a request on, and keeps the latest question as it was sent, with the id of its run once that is known. */
async function recordingFetch(input, init = {}) {
  const path = new URL(input, document.baseURI).href.slice(BASE_URL.length);
  if (init.method !== "POST" || !STREAMS.includes(path)) return faultyFetch(input, init);
  const headers = Object.fromEntries(new Headers(init.headers));
  const sent = { path, headers, body: JSON.parse(init.body), runId: null };
  store.set({ lastRequest: sent });
  const response = await faultyFetch(input, init);
  const runId = response.headers.get("X-Run-ID");
  store.set(({ lastRequest }) => ({ lastRequest: lastRequest === sent ? { ...sent, runId } : lastRequest }));
  return response;
}

/** Follows the route: opens the conversation of each session that it names. */
export function followRoute() {
  const open = () => {
    const { route, draft } = store.get();
    const id = route.session ?? draft;
    const { id: former, leave } = shown.get();
    if (id === former) return;
    leave?.();
    shown.set({ id, conversation: new Conversation(optionsFor(id)), leave: null });
    if (route.session) mount();
    forgetFrames();
  };
  store.subscribe(open);
  open();
}

/** The parameters of a question that the user has chosen. What isn't chosen is left out. */
export function chosen(choice) {
  const { tools, mcp_servers, ...others } = choice;
  const lists = { ...requestedTools(tools), mcp_servers: mcp_servers.length > 0 ? mcp_servers : null };
  return Object.fromEntries(Object.entries({ ...others, ...lists }).filter(([, value]) => value !== null && value !== ""));
}

/** Asks a question (text, or a request with `input`) with what the user has chosen. Fields of the request win. */
export function ask(question, onEvent) {
  const { id, conversation } = shown.get();
  const request = { ...chosen(store.get().choice), ...(typeof question === "string" ? { input: question } : question) };
  navigate({ session: id, run: null, seq: null });
  mount();
  return conversation.stream(request, onEvent);
}

/** The shown conversation's state, and the object itself with its actions (stop, approve, …). */
export function useConversation() {
  const { conversation } = useExternal(shown, () => shown.get());
  const state = useExternal(conversation, () => conversation.get());
  return { ...state, conversation };
}

/** The shown conversation, for code that is not a component. */
export function currentConversation() {
  return shown.get().conversation;
}
