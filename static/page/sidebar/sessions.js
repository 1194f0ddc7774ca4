/** The list of sessions, with a search in their titles. */

import { useEffect, useState } from "preact/hooks";

import { useConversationPart } from "../conversation.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { keepCurrent, loadSession, refresh } from "../lists.js";
import { moveFocus } from "../roving.js";
import { newChat, openSession } from "../route.js";
import { useStore } from "../store.js";
import { hasWords } from "../words.js";
import { More } from "./more.js";
import { SessionItem } from "./session_item.js";
import { titleOf } from "./session_actions.js";

const SETTLED_MS = 400; // a run's row follows its events by about 0.2 s

export function Sessions() {
  const list = useStore((state) => state.sessions);
  const current = useStore(({ route }) => route.session);
  const [words, setWords] = useState("");
  useEffect(() => keepCurrent("sessions"), []);
  useRefreshAfterRuns();
  useCurrent(list, current);
  const found = list.items.filter((session) => hasWords(titleOf(session), words));
  const first = found.find(({ session_id }) => session_id === current) ?? found[0];
  const enter = (event) => {
    event.preventDefault();
    if (words.trim() === "") newChat();
    else if (found[0]) openSession(found[0].session_id);
  };
  return html`
    <form class="search" role="search" onSubmit=${enter}>
      <${Icon} name="search" />
      <input id="search" type="search" aria-label="Search chats" placeholder="Search chats" autocomplete="off"
        value=${words} onInput=${(event) => setWords(event.target.value)} />
      <kbd aria-hidden="true">${SHORTCUT}</kbd>
    </form>
    <ul class="items" onKeyDown=${(event) => moveFocus(event, "a")}>
      ${found.map(
        (session) => html`
          <${SessionItem} key=${session.session_id} session=${session} isCurrent=${session.session_id === current} isFirst=${session === first} />
        `,
      )}
    </ul>
    <${Nothing} list=${list} found=${found} />
    <${More} name="sessions" list=${list} label=${words ? "Search older chats" : "Show more"} />
  `;
}

const SHORTCUT = /Mac|iP/.test(navigator.platform) ? "⌘K" : "Ctrl K";

function Nothing({ list, found }) {
  if (list.error) return html`<p class="hint">The chats could not be loaded. ${list.error}</p>`;
  if (!list.isLoaded || found.length > 0) return null;
  return html`<p class="hint">${list.items.length === 0 ? "Your chats appear here." : "No chat has these words."}</p>`;
}

/** Loads the shown session into the list if it is further back. */
function useCurrent(list, current) {
  const isMissing = current !== null && list.cursor !== null && !list.items.some(({ session_id }) => session_id === current);
  useEffect(() => {
    if (isMissing) void loadSession(current);
  }, [isMissing, current]);
}

/** Refreshes the list when a run of the shown conversation begins, waits or ends. */
function useRefreshAfterRuns() {
  const status = useConversationPart((state) => state.status);
  const runId = useConversationPart((state) => state.runId);
  useEffect(() => {
    const timer = setTimeout(() => void refresh("sessions"), SETTLED_MS);
    return () => clearTimeout(timer);
  }, [status, runId]);
}
