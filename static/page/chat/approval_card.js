/** A call that a person decides: its arguments can be changed before it is approved. */

import { explain } from "agent-stream";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { html } from "../html.js";
import { Icon } from "../icons.js";
import { useGrowingField } from "./field.js";
import { visibleJson } from "./format.js";
import { TimeLeft } from "./time_left.js";

/** `about` says where the tool runs. `approve` and `refuse` send the decision, and resolve with an error or null. */
export function ApprovalCard({ call, about, approve, refuse }) {
  const draft = useDecision(call);
  const { text, change, problem, reason, setReason } = draft;
  const id = `approval-${call.tool_call_id}`;
  return html`
    <section class="approval asks" tabindex="-1" aria-labelledby=${id}>
      <h3 id=${id}><${Icon} name="wait" /><span>Allow the agent to call <code>${call.name}</code>?</span></h3>
      <p class="approval-about">${about}<${TimeLeft} until=${call.expires_at} words="Denied automatically" /></p>
      <${Arguments} text=${text} change=${change} problem=${problem} name=${call.name} />
      ${reason !== null && html`<${Reason} reason=${reason} setReason=${setReason} />`}
      <${Buttons} draft=${draft} approve=${approve} refuse=${refuse} />
    </section>
  `;
}

/** The decision that is being made: the text of the arguments and a reason, with what is wrong with them. */
function useDecision(call) {
  const written = visibleJson(call.arguments_text);
  const [text, setText] = useState(written);
  const [reason, setReason] = useState(null);
  const [isSending, setSending] = useState(false);
  const [refusal, setRefusal] = useState("");
  const mistake = mistakeIn(text);
  const send = async (decision) => {
    setSending(true);
    const error = await decision;
    setRefusal(error ? explain(error) : "");
    setSending(false);
  };
  const change = (changed) => {
    setText(changed);
    setRefusal("");
  };
  const isChanged = text !== written;
  const canApprove = !isSending && mistake === "";
  const changes = isChanged ? { arguments_text: text } : {};
  const undo = () => change(written);
  const problem = mistake || refusal;
  return { text, change, undo, isChanged, changes, problem, reason, setReason, isSending, canApprove, send };
}

function Buttons({ draft, approve, refuse }) {
  const { isChanged, changes, undo, reason, setReason, isSending, canApprove, send } = draft;
  const onRefuse = () => send(refuse(reason?.trim() || undefined));
  return html`
    <div class="approval-actions">
      <button type="button" class="primary" disabled=${!canApprove} onClick=${() => send(approve(changes))}>
        <${Icon} name="check" />${isChanged ? "Approve with changes" : "Approve"}
      </button>
      <button type="button" class="danger" disabled=${isSending} onClick=${onRefuse}>
        <${Icon} name="close" />Deny
      </button>
      ${reason === null &&
      html`<button type="button" class="plain" onClick=${() => setReason("")}>Add a reason</button>`}
      ${isChanged && html`<button type="button" class="plain" onClick=${undo}>Reset</button>`}
    </div>
  `;
}

function Arguments({ text, change, problem, name }) {
  const field = useRef(null);
  useGrowingField(field, text);
  return html`
    <textarea
      ref=${field}
      class="mono"
      rows="1"
      spellcheck=${false}
      aria-label=${`Arguments for ${name} (JSON)`}
      aria-invalid=${problem !== ""}
      value=${text}
      onInput=${({ target }) => change(target.value)}
    ></textarea>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
  `;
}

function Reason({ reason, setReason }) {
  const field = useRef(null);
  useLayoutEffect(() => field.current.focus(), []); // an effect would run later, after the first key
  return html`<input
    ref=${field}
    aria-label="Reason for denying, for the model"
    placeholder="Why not? The model will see this."
    value=${reason}
    onInput=${({ target }) => setReason(target.value)}
  />`;
}

/** Returns what is wrong with a text as the arguments of a call. */
function mistakeIn(text) {
  try {
    const value = JSON.parse(text);
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
    return isObject ? "" : "Arguments must be a JSON object, such as {}.";
  } catch (error) {
    return `Invalid JSON: ${error.message}`;
  }
}
