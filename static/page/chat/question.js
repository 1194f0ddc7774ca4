/** A person's question. It can be edited, which begins another branch. */

import { html } from "../html.js";
import { Icon } from "../icons.js";
import { AttachmentList } from "./attachment_view.js";
import { partsOf } from "./attachments.js";
import { Branches } from "./branches.js";
import { CopyButton } from "./copy_button.js";
import { memo } from "./memo.js";
import { keyOf } from "./message_key.js";
import { QuestionEditor } from "./question_editor.js";

/** `isEditing` opens the editor, and `setEditing` changes that. `canAsk` is whether no run is under way. */
export const Question = memo(function Question({ message, canAsk, isEditing, setEditing }) {
  const { text, attachments } = partsOf(message.content ?? "");
  if (isEditing) return html`<${QuestionEditor} message=${message} close=${() => setEditing(null)} canAsk=${canAsk} />`;
  return html`
    <div class="question">
      <div class="bubble">
        <${AttachmentList} attachments=${attachments} />
        ${text !== "" && html`<p dir="auto">${text}</p>`}
      </div>
      <div class="actions">
        ${message.branches && html`<${Branches} branches=${message.branches} canAsk=${canAsk} />`}
        <${CopyButton} label="Copy question" text=${() => text} />
        ${canAsk &&
        html`<button
          type="button"
          class="plain"
          aria-label="Edit question"
          title="Edit question"
          onClick=${() => setEditing(keyOf(message))}
        >
          <${Icon} name="edit" />Edit
        </button>`}
      </div>
    </div>
  `;
});
