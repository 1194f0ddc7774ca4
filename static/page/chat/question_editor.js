/** The editor of an earlier question, in its place. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { html } from "../html.js";
import { askAgain } from "./actions.js";
import { AttachmentList } from "./attachment_view.js";
import { contentOf, partsOf } from "./attachments.js";
import { isSend, useGrowingField } from "./field.js";

export function QuestionEditor({ message, close, canAsk }) {
  const { text, attachments } = partsOf(message.content ?? "");
  const [draft, setDraft] = useState(text);
  const isReady = canAsk && (draft.trim() !== "" || attachments.length > 0);
  const send = (event) => {
    event.preventDefault();
    if (!isReady) return;
    close();
    void askAgain(message, contentOf(draft, attachments));
  };
  return html`
    <form class="question editor" aria-label="Edit question" onSubmit=${send}>
      <${AttachmentList} attachments=${attachments} />
      <${Field} draft=${draft} setDraft=${setDraft} send=${send} close=${close} />
      <div class="actions">
        <button type="button" onClick=${close}>Cancel</button>
        <button type="submit" class="primary" disabled=${!isReady}>Ask again</button>
      </div>
    </form>
  `;
}

function Field({ draft, setDraft, send, close }) {
  const field = useRef(null);
  useGrowingField(field, draft);
  useLayoutEffect(() => {
    field.current.focus();
    field.current.setSelectionRange(draft.length, draft.length);
  }, []);
  const press = (event) => {
    if (isSend(event)) send(event);
    if (event.key !== "Escape") return;
    event.preventDefault(); // it closes the editor, and stops no run
    close();
  };
  return html`
    <textarea
      ref=${field}
      aria-label="Question"
      rows="1"
      dir="auto"
      value=${draft}
      onInput=${({ target }) => setDraft(target.value)}
      onKeyDown=${press}
    ></textarea>
  `;
}
