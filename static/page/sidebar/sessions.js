/** The list of sessions by day, with a search in their titles. */

import { useEffect, useId, useState } from "preact/hooks";

import { useConversationPart } from "../conversation.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { keepCurrent, loadMore, loadSession, PAGE, refresh, search } from "../lists.js";
import { moveFocus } from "../roving.js";
import { newChat, openSession } from "../route.js";
import { NOT_LOADED, useStore } from "../store.js";
import { dayOf } from "../times.js";
import { hasWords } from "../words.js";
import { More } from "./more.js";
import { SessionItem } from "./session_item.js";
import { titleOf } from "./session_actions.js";

const TYPED_MS = 200; // after the last key, the service is asked
const SETTLED_MS = 400; // a run's row follows its events by about 0.2 s

export function Sessions() {
  const [typed, setTyped] = useState("");
  const words = typed.trim();
  const sessions = useStore((state) => state.sessions);
  const answer = useStore((state) => state.found);
  const current = useStore(({ route }) => route.session);
  const name = words === "" ? "sessions" : "found";
  useSearch(answer, words);
  const list = words === "" ? sessions : answerTo(words, answer, sessions);
  const found = list.items;
  const first = found.find(({ session_id }) => session_id === current) ?? found[0];
  const enter = (event) => {
    event.preventDefault();
    if (words === "") newChat();
    else if (found[0]) openSession(found[0].session_id);
  };
  return html`
    <form class="search" role="search" onSubmit=${enter}>
      <${Icon} name="search" />
      <input id="search" type="search" aria-label="Search chats" placeholder="Search chats" autocomplete="off"
        maxlength="200" value=${typed} onInput=${(event) => setTyped(event.target.value)} />
      <kbd aria-hidden="true">${SHORTCUT}</kbd>
    </form>
    <div class="items" onKeyDown=${(event) => moveFocus(event, "a")}>
      ${[...Map.groupBy(found, ({ updated_at }) => dayOf(updated_at))].map(
        ([day, ofDay]) => html`<${Day} key=${day} day=${day} sessions=${ofDay} current=${current} first=${first} />`,
      )}
    </div>
    <${Nothing} list=${list} isSearch=${words !== ""} />
    <${More} name=${name} list=${list} label="Show more" />
  `;
}

function Day({ day, sessions, current, first }) {
  const title = useId();
  return html`
    <section aria-labelledby=${title}>
      <h2 class="day" id=${title}>${day}</h2>
      <ul>
        ${sessions.map(
          (session) => html`
            <${SessionItem} key=${session.session_id} session=${session} isCurrent=${session.session_id === current} isFirst=${session === first} />
          `,
        )}
      </ul>
    </section>
  `;
}

const SHORTCUT = /Mac|iP/.test(navigator.platform) ? "⌘K" : "Ctrl K";

function Nothing({ list, isSearch }) {
  if (list.error) return html`<p class="hint">Couldn't load chats. ${list.error}</p>`;
  if (list.items.length > 0) return null;
  if (!list.isLoaded || list.cursor !== null) return isSearch && html`<p class="hint" role="status">Searching…</p>`;
  return html`<p class="hint">${isSearch ? "No matching chats." : "Your chats will appear here."}</p>`;
}

/** The list of a search. Until the service has answered, it has the loaded sessions with these words. */
function answerTo(words, answer, sessions) {
  if (answer.words === words && (answer.isLoaded || answer.error)) return answer;
  return { ...NOT_LOADED, items: sessions.items.filter((session) => hasWords(titleOf(session), words)) };
}

/** Keeps the list of sessions current. Other lists and the header show their titles, too. */
export function useSessions() {
  useEffect(() => keepCurrent("sessions"), []);
  useRefreshAfterRuns();
  useCurrent();
}

/** Loads the shown session into the list if it is further back. One that began here may not be in the service yet. */
function useCurrent() {
  const list = useStore((state) => state.sessions);
  const current = useStore(({ route }) => route.session);
  const isOlder = useStore(({ begun }) => current !== null && !begun.includes(current));
  const isMissing = isOlder && list.cursor !== null && !list.items.some(({ session_id }) => session_id === current);
  useEffect(() => {
    if (isMissing) void loadSession(current);
  }, [isMissing, current]);
}

/** Asks the service for the titles with these words, until a page of them is found or there are no others. */
function useSearch({ cursor, error, items }, words) {
  useEffect(() => {
    if (words === "") return;
    const timer = setTimeout(() => void search(words), TYPED_MS);
    return () => clearTimeout(timer);
  }, [words]);
  const isWanted = cursor !== null && error === null && items.length < PAGE;
  useEffect(() => {
    if (isWanted) void loadMore("found");
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
