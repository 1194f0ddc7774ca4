/** The form in which a person writes a question: text, images and text files. */

import { useImperativeHandle, useRef } from "preact/hooks";

import { html } from "../html.js";
import { Icon } from "../icons.js";
import { AttachmentList } from "./attachment_view.js";
import { ACCEPTED } from "./attachments.js";
import { isSend, useGrowingField } from "./field.js";
import { useQuestion } from "./use_question.js";

/**
 * `isUnderWay` is whether a run is, so that Stop stands in place of Send. `awaited` is the kind of answer that it waits for, or
 * null. `editLast` edits the last question. `handle` gets `focus()` and `add(files)`. `onAsk` is called when a question is sent.
 */
export function Composer({ session, isUnderWay, awaited, stop, editLast, onAsk, handle }) {
  const question = useQuestion(session, onAsk);
  const { text, isEmpty, attachments, problems, add, remove } = question;
  const field = useRef(null);
  useImperativeHandle(handle, () => ({ focus: () => field.current.focus(), add }), [add]);
  const send = (event) => {
    event.preventDefault();
    if (!isUnderWay) question.send();
  };
  const press = (event) => {
    if (isSend(event)) send(event);
    if (event.key !== "ArrowUp" || text !== "" || isUnderWay) return;
    event.preventDefault();
    editLast();
  };
  return html`
    <form class="composer" aria-label="Ask" onSubmit=${send}>
      <${AttachmentList} attachments=${attachments} remove=${remove} />
      ${problems.map((problem) => html`<p key=${problem} class="problem" role="alert">${problem}</p>`)}
      <${Field} field=${field} question=${question} press=${press} />
      <div class="composer-actions">
        <${FilePicker} add=${add} />
        <span class=${awaited ? "hint is-wait" : "hint"}><${Hint} isUnderWay=${isUnderWay} awaited=${awaited} /></span>
        ${isUnderWay
          ? html`<button type="button" class="send" onClick=${stop}><${Icon} name="stop" />Stop</button>`
          : html`<button type="submit" class="send primary" disabled=${isEmpty}><${Icon} name="send" />Send</button>`}
      </div>
    </form>
  `;
}

function Field({ field, question: { text, setText, add }, press }) {
  useGrowingField(field, text);
  const paste = (event) => {
    if (event.clipboardData.files.length === 0) return;
    event.preventDefault();
    void add(event.clipboardData.files);
  };
  return html`
    <textarea
      id="question"
      ref=${field}
      rows="1"
      dir="auto"
      aria-label="Question"
      placeholder="Ask the agent"
      value=${text}
      onInput=${({ target }) => setText(target.value)}
      onKeyDown=${press}
      onPaste=${paste}
    ></textarea>
  `;
}

/** A button that opens the browser's dialog for files. */
function FilePicker({ add }) {
  const picker = useRef(null);
  const label = "Attach images or text files";
  const pick = ({ target }) => void add(target.files).then(() => (target.value = ""));
  return html`
    <button type="button" class="plain" aria-label=${label} title=${label} onClick=${() => picker.current.click()}>
      <${Icon} name="plus" />
    </button>
    <input
      ref=${picker}
      class="hidden"
      type="file"
      multiple
      tabindex="-1"
      aria-hidden="true"
      accept=${ACCEPTED}
      onChange=${pick}
    />
  `;
}

function Hint({ isUnderWay, awaited }) {
  if (awaited === "budget") return "Raise the budget first, or end the run";
  if (awaited === "approval") return "Answer the approval first, or stop the run";
  if (awaited !== null) return "The run is waiting for a tool result";
  if (isUnderWay) return html`<kbd>Esc</kbd> to stop`;
  return html`<kbd>Enter</kbd> to send · <kbd>Shift+Enter</kbd> for new line · <kbd>↑</kbd> to edit last`;
}
