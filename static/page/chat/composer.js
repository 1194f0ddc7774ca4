/** Where a person writes: text, images and text files. */

import { useEffect, useImperativeHandle, useRef, useState } from "preact/hooks";

import { ask } from "../conversation.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { AttachmentList } from "./attachment_view.js";
import { ACCEPTED, contentOf } from "./attachments.js";
import { draftOf, keepDraft } from "./drafts.js";
import { isSend, useGrowingField } from "./field.js";
import { useAttachments } from "./use_attachments.js";

/**
 * `isUnderWay` is whether a run is, so that Stop stands in place of Send. `editLast` edits the last question. `handle` gets
 * `focus()` and `add(files)`. `onAsk` is called when a question is sent.
 */
export function Composer({ session, isUnderWay, stop, editLast, onAsk, handle }) {
  const [text, setText] = useState(() => draftOf(session));
  const { attachments, problems, add, remove, clear, restore } = useAttachments();
  const field = useRef(null);
  const picker = useRef(null);
  useGrowingField(field, text);
  useEffect(() => keepDraft(session, text), [session, text]);
  useImperativeHandle(handle, () => ({ focus: () => field.current.focus(), add }), [add]);

  const isEmpty = text.trim() === "" && attachments.length === 0;
  const send = async () => {
    if (isEmpty || isUnderWay) return;
    setText("");
    clear();
    onAsk();
    let isAccepted = false;
    await ask({ input: contentOf(text, attachments) }, () => (isAccepted = true));
    if (isAccepted) return;
    setText((written) => written || text); // a refused question loses nothing
    restore(attachments);
  };
  const press = (event) => {
    if (isSend(event)) {
      event.preventDefault();
      void send();
    } else if (event.key === "ArrowUp" && text === "" && !isUnderWay) {
      event.preventDefault();
      editLast();
    }
  };
  const paste = (event) => {
    if (event.clipboardData.files.length === 0) return;
    event.preventDefault();
    void add(event.clipboardData.files);
  };
  const pick = ({ target }) => void add(target.files).then(() => (target.value = ""));

  return html`
    <form class="composer" aria-label="Ask" onSubmit=${(submit) => (submit.preventDefault(), void send())}>
      <${AttachmentList} attachments=${attachments} remove=${remove} />
      ${problems.map((problem) => html`<p key=${problem} class="problem" role="alert">${problem}</p>`)}
      <textarea id="question" ref=${field} rows="1" dir="auto" aria-label="Question" placeholder="Ask the agent" value=${text} onInput=${({ target }) => setText(target.value)} onKeyDown=${press} onPaste=${paste}></textarea>
      <div class="composer-actions">
        <button type="button" class="plain" aria-label="Attach images or text files" title="Attach images or text files" onClick=${() => picker.current.click()}><${Icon} name="plus" /></button>
        <input ref=${picker} class="hidden" type="file" multiple tabindex="-1" aria-hidden="true" accept=${ACCEPTED} onChange=${pick} />
        <span class="hint">${isUnderWay ? html`<kbd>Esc</kbd> stops` : html`<kbd>Enter</kbd> sends · <kbd>Shift Enter</kbd> new line · <kbd>↑</kbd> edits`}</span>
        ${isUnderWay
          ? html`<button type="button" class="send" onClick=${stop}><${Icon} name="stop" />Stop</button>`
          : html`<button type="submit" class="send primary" disabled=${isEmpty}><${Icon} name="send" />Send</button>`}
      </div>
    </form>
  `;
}
