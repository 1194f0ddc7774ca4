/** A person's question. It can be edited, which begins another branch. */

import { useEffect, useRef, useState } from "preact/hooks";

import { html } from "../html.js";
import { Icon } from "../icons.js";
import { askAgain } from "./actions.js";
import { AttachmentList } from "./attachment_view.js";
import { contentOf, partsOf } from "./attachments.js";
import { Branches } from "./branches.js";
import { CopyButton } from "./copy_button.js";
import { isSend, useGrowingField } from "./field.js";
import { memo } from "./memo.js";

/** `isEditing` opens the editor, and `setEditing` changes that. `canAsk` is whether no run is under way. */
export const Question = memo(function Question({ message, canAsk, isEditing, setEditing }) {
  const { text, attachments } = partsOf(message.content ?? "");
  if (isEditing) return html`<${Editor} message=${message} close=${() => setEditing(null)} canAsk=${canAsk} />`;
  return html`
    <div class="question">
      <div class="bubble">
        <${AttachmentList} attachments=${attachments} />
        ${text !== "" && html`<p dir="auto">${text}</p>`}
      </div>
      <div class="actions">
        ${message.branches && html`<${Branches} branches=${message.branches} canAsk=${canAsk} />`}
        <${CopyButton} label="Copy the question" text=${() => text} />
        ${canAsk && html`<button type="button" class="plain" aria-label="Edit the question" title="Edit the question" onClick=${() => setEditing(message.message_id)}><${Icon} name="edit" />Edit</button>`}
      </div>
    </div>
  `;
});

function Editor({ message, close, canAsk }) {
  const { text, attachments } = partsOf(message.content ?? "");
  const [draft, setDraft] = useState(text);
  const field = useRef(null);
  useGrowingField(field, draft);
  useEffect(() => {
    field.current.focus();
    field.current.setSelectionRange(draft.length, draft.length);
  }, []);
  const isEmpty = draft.trim() === "" && attachments.length === 0;
  const send = () => {
    if (isEmpty || !canAsk) return;
    close();
    void askAgain(message, contentOf(draft, attachments));
  };
  const press = (event) => {
    if (event.key === "Escape") {
      event.preventDefault(); // it closes the editor, and stops no run
      close();
    } else if (isSend(event)) {
      event.preventDefault();
      send();
    }
  };
  return html`
    <form class="question editor" aria-label="Edit the question" onSubmit=${(submit) => (submit.preventDefault(), send())}>
      <${AttachmentList} attachments=${attachments} />
      <textarea ref=${field} aria-label="Question" rows="1" dir="auto" value=${draft} onInput=${(input) => setDraft(input.target.value)} onKeyDown=${press}></textarea>
      <div class="actions">
        <button type="button" onClick=${close}>Cancel</button>
        <button type="submit" class="primary" disabled=${isEmpty || !canAsk}>Ask again</button>
      </div>
    </form>
  `;
}
