/** The chat: the conversation, the calls that wait for a person, and the composer. */

import { latestAnswer } from "agent-stream";
import { useEffect, useRef, useState } from "preact/hooks";

import { useConversation } from "../conversation.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { store, useStore } from "../store.js";
import { Welcome } from "../welcome/welcome.js";
import { askAgain } from "./actions.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { Connection } from "./connection.js";
import { Dock } from "./dock.js";
import { useDrop } from "./drop.js";
import { useFactReader } from "./facts.js";
import { Failure } from "./failure.js";
import { keyOf } from "./message_key.js";
import { MessageList } from "./message_list.js";
import { ReplayedChat } from "./replayed_chat.js";
import { useStickToEnd } from "./stick.js";

export function Chat() {
  const session = useStore(({ route, draft }) => route.session ?? draft);
  const replay = useStore((state) => state.replay);
  useFactReader();
  if (replay) return html`<${ReplayedChat} replay=${replay} />`;
  return html`<${Conversation} key=${session} session=${session} />`;
}

function Conversation({ session }) {
  const state = useConversation();
  const { messages, conversation } = state;
  const isUnderWay = latestAnswer(state).isStreaming;
  const [editing, setEditing] = useState(null);
  const composer = useRef(null);
  const { scroller, content, isAway, toEnd } = useStickToEnd(messages.length === 0);
  const { isOver, ...dropping } = useDrop((files) => composer.current.add(files));
  const stop = () => void conversation.stop();
  useEscape(isUnderWay && state.status !== "waiting", stop);
  const last = messages.findLast(({ role }) => role === "user");
  const editLast = () => setEditing(last ? keyOf(last) : null);
  const asking = { session, isUnderWay, awaited: awaitedKind(state), stop, editLast, onAsk: toEnd, handle: composer };

  return html`
    <div class="chat ${isOver ? "is-dropping" : ""}" ...${dropping}>
      <div class="scroller" ref=${scroller} tabindex="0" role="log" aria-live="off" aria-label="Conversation">
        <div class="column" ref=${content}>
          <${Beginning} isEmpty=${messages.length === 0} history=${state.history} />
          <${Messages} state=${state} canAsk=${!isUnderWay} editing=${editing} setEditing=${setEditing} />
        </div>
      </div>
      <div class="end">${isAway && html`<${ToEnd} toEnd=${toEnd} />`}</div>
      <div class="foot">
        <div class="column">
          <${Connection} state=${state} />
          <${Dock} state=${state} onDecided=${() => composer.current.focus()} />
          <${Composer} ...${asking} />
        </div>
      </div>
      <${Announcer} state=${state} />
    </div>
  `;
}

/** Returns the kind of answer that the run waits for first: "budget", "approval" or "client". Null if it doesn't wait. */
function awaitedKind({ budget, pending }) {
  if (budget) return budget.kind;
  const call = pending.find(({ kind }) => kind === "approval") ?? pending[0];
  return call?.kind ?? null;
}

/** The beginning, above the messages: the welcome in a new chat, or a heading. */
function Beginning({ isEmpty, history }) {
  const { session, run } = useStore(({ route }) => route);
  if (isEmpty && session === null && run === null) return html`<${Welcome} />`;
  return html`
    <h2 class="hidden">Conversation</h2>
    ${isEmpty && session !== null && html`<p class="hint is-late">${wordsOnNothing(history)}</p>`}
  `;
}

/** Returns why no message is shown. A chat that was never loaded may well have some. */
function wordsOnNothing({ isLoaded, error }) {
  if (isLoaded) return "No messages. This chat is new or was deleted.";
  return error ? "Couldn't load this chat. Retrying…" : "Loading chat…";
}

function Messages({ state, canAsk, editing, setEditing }) {
  const { messages, conversation } = state;
  const editor = { canAsk, editing, setEditing };
  return html`
    <${MessageList} messages=${messages} ...${editor} reconnect=${conversation.reconnect} />
    <${LooseError} state=${state} isUnderWay=${!canAsk} />
  `;
}

function ToEnd({ toEnd }) {
  return html`<button type="button" class="to-end" onClick=${toEnd}><${Icon} name="end" />Jump to latest</button>`;
}

/** An error that belongs to no answer, such as a refused question. */
function LooseError({ state, isUnderWay }) {
  const { error, messages, runId, conversation } = state;
  const isInAnswer = messages.some((message) => message.run_id === runId && message.error !== undefined);
  if (error === null || isUnderWay || isInAnswer) return null;
  const question = messages.findLast(({ role }) => role === "user");
  const again = question ? () => void askAgain(question) : null;
  const hasRun = runId !== null || error.code === "not_stopped"; // the run of a question that got no response
  return html`<${Failure} error=${error} again=${again} reconnect=${hasRun ? conversation.reconnect : null} />`;
}

/**
 * Calls `stop` on Escape in the conversation or the composer while the run works. Elsewhere, the key has another meaning. A run that
 * waits for a person may have waited for a day: only the button stops it.
 */
function useEscape(isWorking, stop) {
  useEffect(() => {
    const press = ({ key, target, defaultPrevented }) => {
      const isHere = target === document.body || target.closest(".scroller, .composer") !== null;
      if (key === "Escape" && isHere && !defaultPrevented && store.get().drawer === null && isWorking) stop();
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [isWorking, stop]);
}
