/** The conversation: questions and answers. Only a changed message is drawn again. */

import { html } from "../html.js";
import { askAgain } from "./actions.js";
import { Answer } from "./answer.js";
import { useGradual } from "./gradual.js";
import { memo } from "./memo.js";
import { keyOf } from "./message_key.js";
import { Question } from "./question.js";
import { useStoredFacts } from "./stored_facts.js";

const MESSAGES_AT_ONCE = 8;

/** `editing` is the key of the question that is being edited, or null. */
export function MessageList({ messages, canAsk, editing, setEditing, reconnect }) {
  useStoredFacts(messages);
  const drawn = useGradual(messages.length, MESSAGES_AT_ONCE, MESSAGES_AT_ONCE);
  const shown = messages.slice(messages.length - drawn);
  const questions = new Map(messages.filter(({ role }) => role === "user").map((asked) => [asked.run_id, asked]));
  return shown.map((message, place) => {
    const question = questions.get(message.run_id) ?? null;
    const about = { message, question, canAsk, setEditing, reconnect: place === shown.length - 1 ? reconnect : null };
    const isOld = place < shown.length - 2;
    return html`<${Row}
      key=${keyOf(message)}
      ...${about}
      isOld=${isOld}
      isEditing=${editing === keyOf(message)}
    />`;
  });
}

const Row = memo(function Row({ message, question, canAsk, isOld, isEditing, setEditing, reconnect }) {
  const regenerate = canAsk && question?.content ? () => void askAgain(question) : null;
  return html`
    <div class="message ${message.role === "user" ? "is-question" : ""} ${isOld ? "is-old" : ""}">
      <h2 class="hidden">${message.role === "user" ? "Question" : "Answer"}</h2>
      ${message.role === "user"
        ? html`<${Question} message=${message} canAsk=${canAsk} isEditing=${isEditing} setEditing=${setEditing} />`
        : html`<${Answer} message=${message} regenerate=${regenerate} reconnect=${reconnect} />`}
    </div>
  `;
});
