/** A session in the list: a link, with its state, and its buttons. It can be renamed in place. */

import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { cost } from "../chat/format.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { formatRoute, onPlainClick, openSession } from "../route.js";
import { timeInDay } from "../times.js";
import { Dot, urgent } from "./dot.js";
import { remove, rename, titleOf } from "./session_actions.js";

/** `isFirst` says whether the Tab key enters the list here. */
export function SessionItem({ session, isCurrent, isFirst }) {
  const [Editor, setEditor] = useState(null);
  const [error, setError] = useState(null);
  const link = useRef(null);
  const wasEdited = useRef(false);
  useLayoutEffect(() => {
    if (!Editor && wasEdited.current) link.current.focus();
    wasEdited.current = Editor !== null;
  }, [Editor]);
  const edit = (next) => setEditor(() => next);
  const leave = (failure = null) => {
    setError(failure);
    setEditor(null);
  };
  if (Editor) return html`<li><${Editor} session=${session} leave=${leave} /></li>`;
  return html`
    <li class=${isCurrent ? "item is-current" : "item"}>
      <${SessionLink} session=${session} isCurrent=${isCurrent} isFirst=${isFirst} handle=${link} edit=${edit} />
      <${Buttons} title=${titleOf(session)} isFirst=${isFirst} edit=${edit} />
      ${error && html`<p class="hint" role="alert">${error}</p>`}
    </li>
  `;
}

function SessionLink({ session, isCurrent, isFirst, handle, edit }) {
  const { session_id: id, status, updated_at, usage } = session;
  const onKeyDown = ({ key }) => {
    if (key === "F2") edit(Rename);
    if (key === "Delete") edit(Delete);
  };
  return html`
    <a
      ref=${handle}
      href="./${formatRoute({ session: id })}"
      tabindex=${isFirst ? 0 : -1}
      aria-current=${isCurrent ? "page" : undefined}
      onClick=${onPlainClick(() => openSession(id))}
      onKeyDown=${onKeyDown}
    >
      <${Dot} status=${urgent(status)} />
      <span class="item-text" title=${titleOf(session)}>
        <span class="cut">${titleOf(session)}</span>
        <span class="tiny muted">${[urgent(status), cost(usage)].filter(Boolean).join(" · ")}</span>
      </span>
      <time datetime=${updated_at}>${timeInDay(updated_at)}</time>
    </a>
  `;
}

function Buttons({ title, isFirst, edit }) {
  const common = { type: "button", class: "plain", tabindex: isFirst ? 0 : -1 };
  return html`
    <span class="item-buttons">
      <button ...${common} aria-label="Rename ${title}" title="Rename (F2)" onClick=${() => edit(Rename)}><${Icon} name="edit" /></button>
      <button ...${common} aria-label="Delete ${title}" title="Delete" onClick=${() => edit(Delete)}><${Icon} name="remove" /></button>
    </span>
  `;
}

function Rename({ session, leave }) {
  const field = useRef(null);
  const isOver = useRef(false);
  const [error, setError] = useState(null);
  useLayoutEffect(() => field.current.select(), []);
  const end = async (save) => {
    if (isOver.current) return;
    isOver.current = true;
    const failure = save ? await rename(session.session_id, field.current.value) : null;
    if (failure === null) return leave();
    isOver.current = false; // the title stays in the field, to be saved again
    setError(failure);
  };
  const submit = (event) => {
    event.preventDefault();
    void end(true);
  };
  return html`
    <form class="rename" onSubmit=${submit} onKeyDown=${onEscape(() => end(false))}>
      <input ref=${field} maxlength="200" aria-label="Title" defaultValue=${titleOf(session)} onBlur=${() => end(true)} />
      ${error && html`<p class="hint" role="alert">${error}</p>`}
    </form>
  `;
}

function Delete({ session, leave }) {
  const button = useRef(null);
  useLayoutEffect(() => button.current.focus(), []);
  const confirm = async () => {
    const failure = await remove(session.session_id);
    if (failure) leave(failure);
  };
  return html`
    <div class="confirm" role="group" aria-label="Delete ${titleOf(session)}?" onKeyDown=${onEscape(() => leave())}>
      <span class="cut">Delete this chat?</span>
      <button type="button" class="danger" ref=${button} onClick=${confirm}>Delete</button>
      <button type="button" onClick=${() => leave()}>Cancel</button>
    </div>
  `;
}

function onEscape(leave) {
  return (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    void leave();
  };
}
