/** The conversation that is shown: one `Conversation` for the route's session, with what the user has chosen. */

import { Conversation, isReturned, unsentIn } from "agent-stream";

import { api, BASE_URL } from "./api.js";
import { partsOf } from "./chat/attachments.js";
import { keepDraft } from "./chat/drafts.js";
import { pageTools, requestedTools } from "./chat/page_tools.js";
import { forgetFrames, takeFrame } from "./frames.js";
import { faultyFetch } from "./inspector/faults.js";
import { recordingFetch } from "./last_request.js";
import { runPath } from "./paths.js";
import { followSession, navigate } from "./route.js";
import { createStore, store, useExternal } from "./store.js";

/**
 * Holds the present `Conversation`, which is replaced when another session is shown. `leave` is null until it is mounted.
 * A new chat is mounted at its first question, because the service does not have its session before.
 */
const shown = createStore({ id: null, run: null, conversation: null, leave: null });

/** The conversations that were left before their question had arrived: each stays mounted until it has. By session. */
const sending = new Map();

function mount() {
  const { conversation, leave } = shown.get();
  if (!leave) shown.set({ leave: conversation.mount() });
}

/**
 * The options of a conversation. The inspector shows only the present one. A run without a session was started by another
 * program, which makes its own calls: a link to it must not run a tool of this page.
 */
function optionsFor(sessionId, isPresent) {
  return {
    baseUrl: BASE_URL,
    sessionId,
    storageKey: "agent-stream",
    clientTools: sessionId === undefined ? {} : pageTools,
    fetch: (...request) => (isPresent() ? recordingFetch : faultyFetch)(...request),
    onFrame: (frame) => isPresent() && takeFrame(frame),
  };
}

/** Follows the route: opens the conversation of each session that it names, or of a run without a session. */
export function followRoute() {
  store.subscribe(open);
  open();
}

function open() {
  const { route, draft } = store.get();
  const { id: former, run: formerRun } = shown.get();
  const isLoose = route.run !== null && route.session === null;
  const id = isLoose ? route.run : (route.session ?? draft);
  const isOther = id !== former;
  const isMove = isOther || route.run !== formerRun;
  if (isMove) shown.set({ run: route.run, ...(isOther && replacement(id, isLoose)) });
  if (isOther) forgetFrames();
  if (route.session || isLoose) mount();
  if (!isMove) return;
  const { conversation } = shown.get();
  if (isLoose) void conversation.attach(id);
  else if (route.run === null && !isOther) void conversation.showBranch(null);
  else if (route.run !== null && !isShown(route.run)) void showBranch(route);
}

/** Leaves the shown conversation, and returns what takes its place. */
function replacement(id, isLoose) {
  leaveShown();
  const left = sending.get(id);
  sending.delete(id);
  return { id, ...(left ?? { conversation: newConversation(id, isLoose), leave: null }) };
}

function newConversation(id, isLoose) {
  const conversation = new Conversation(optionsFor(isLoose ? undefined : id, () => shown.get().conversation === conversation));
  return conversation;
}

/** Leaves the shown conversation once its question has arrived. The text of a refused one is there when it is shown again. */
function leaveShown() {
  const { id, conversation, leave } = shown.get();
  const sent = leave && unsentIn(conversation.get().messages);
  if (!sent) return leave?.();
  sending.set(id, { conversation, leave });
  const forget = conversation.subscribe(() => {
    const { messages } = conversation.get();
    if (sending.has(id) && unsentIn(messages)) return;
    forget();
    if (!sending.delete(id)) return;
    if (isReturned(sent, messages)) keepDraft(id, partsOf(sent.content).text);
    leave();
  });
}

function isShown(runId) {
  return shown.get().conversation.get().messages.some(({ run_id }) => run_id === runId);
}

/** Shows the branch of the session that has a run. A run that is in no session is shown by itself. */
async function showBranch({ session, run }) {
  const stored = await api(runPath(run)).catch(() => null);
  const isPresent = store.get().route.run === run && store.get().route.session === session;
  if (!stored || !isPresent) return;
  if (stored.session_id === session) await shown.get().conversation.showBranch(run);
  else navigate({ session: stored.session_id ?? null }, { replace: true });
}

/** The parameters of a question that the user has chosen. What isn't chosen is left out. */
export function chosen({ tools, mcp_servers, asks_first, ...fields }) {
  const isSet = ([, value]) => value !== null && value !== "";
  const asked = requestedTools(tools);
  return {
    ...Object.fromEntries(Object.entries(fields).filter(isSet)),
    ...asked,
    ...(mcp_servers.length > 0 && { mcp_servers }),
    ...(asks_first && asked.tools?.length > 0 && { require_approval: asked.tools }),
  };
}

/** Asks a question (text, or a request with `input`) with what the user has chosen. Fields of the request win. */
export function ask(question, onEvent) {
  const { route, draft, choice } = store.get();
  const request = { ...chosen(choice), ...(typeof question === "string" ? { input: question } : question) };
  shown.set({ run: null }); // the question continues the shown version, so `open` must not show the latest one
  followSession(route.session ?? draft);
  return shown.get().conversation.stream(request, onEvent);
}

/** The shown conversation's state, and the object itself with its actions (stop, approve, …). */
export function useConversation() {
  const { conversation } = useExternal(shown, () => shown.get());
  const state = useExternal(conversation, () => conversation.get());
  return { ...state, conversation };
}

/** The part of the shown conversation's state that `select` picks: the component is drawn only when that changes. */
export function useConversationPart(select) {
  const { conversation } = useExternal(shown, () => shown.get());
  return useExternal(conversation, () => select(conversation.get()));
}

/** The shown conversation, for code that is not a component. */
export function currentConversation() {
  return shown.get().conversation;
}
