/** The list of sessions, with a search in their titles. */

import { useEffect, useState } from "preact/hooks";

import { useConversationPart } from "../conversation.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { keepCurrent, loadMore, loadSession, refresh } from "../lists.js";
import { moveFocus } from "../roving.js";
import { newChat, openSession } from "../route.js";
import { useStore } from "../store.js";
import { hasWords } from "../words.js";
import { More } from "./more.js";
import { SessionItem } from "./session_item.js";
import { titleOf } from "./session_actions.js";

const MOST_SEARCHED = 300; // chats, without a click on "Search older chats"
const SETTLED_MS = 400; // a run's row follows its events by about 0.2 s

export function Sessions() {
  const list = useStore((state) => state.sessions);
  const current = useStore(({ route }) => route.session);
  const [words, setWords] = useState("");
  useEffect(() => keepCurrent("sessions"), []);
  useRefreshAfterRuns();
  useCurrent(list, current);
  useFurtherPages(list, words);
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
    ${words.trim() !== "" && list.cursor !== null && html`<p class="hint" role="status">Searched the latest ${list.items.length} chats.</p>`}
    <${More} name="sessions" list=${list} label=${words ? "Search older chats" : "Show more"} />
  `;
}

const SHORTCUT = /Mac|iP/.test(navigator.platform) ? "⌘K" : "Ctrl K";

function Nothing({ list, found }) {
  if (list.error) return html`<p class="hint">The chats could not be loaded. ${list.error}</p>`;
  if (!list.isLoaded || found.length > 0) return null;
  return html`<p class="hint">${list.items.length === 0 ? "Your chats appear here." : "No chat has these words."}</p>`;
}

/** Loads the shown session into the list if it is further back. One that began here may not be in the service yet. */
function useCurrent(list, current) {
  const isOlder = useStore(({ begun }) => current !== null && !begun.includes(current));
  const isMissing = isOlder && list.cursor !== null && !list.items.some(({ session_id }) => session_id === current);
  useEffect(() => {
    if (isMissing) void loadSession(current);
  }, [isMissing, current]);
}

/** Loads further pages of the list while the user searches. */
function useFurtherPages(list, words) {
  const { cursor, error, items } = list;
  const isWanted = words.trim() !== "" && cursor !== null && error === null && items.length < MOST_SEARCHED;
  useEffect(() => {
    if (isWanted) void loadMore("sessions");
  }, [isWanted, cursor]);
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
