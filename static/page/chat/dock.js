/** The calls, or the budget, that the run waits for. The dock stands above the composer, so it doesn't scroll away. */

import { explain, isWaiting } from "agent-stream";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { html } from "../html.js";
import { Icon } from "../icons.js";
import { ApprovalCard } from "./approval_card.js";
import { BudgetCard } from "./budget_card.js";
import { pageTools } from "./page_tools.js";
import { aboutSource } from "./sources.js";

/**
 * `state` is the conversation's, and `onDecided` is called after the last answer of a person. The first card that asks a person
 * (`.asks`) gets the focus, as a whole: Enter there must neither approve a call nor raise a budget.
 */
export function Dock({ state, onDecided }) {
  const { pending, budget, conversation } = state;
  const dock = useRef(null);
  const awaited = [...pending.map(({ tool_call_id }) => tool_call_id), budget?.expires_at].join(" ");
  useLayoutEffect(() => {
    if (isFocusFree()) dock.current?.querySelector(".asks")?.focus();
  }, [awaited]);
  if (!isWaiting(state)) return null;
  const after = (answer) => reported(answer, onDecided);
  return html`
    <section class="dock" aria-label="Waiting for you" ref=${dock}>
      ${budget &&
      html`<${BudgetCard}
        key=${budget.expires_at}
        budget=${budget}
        raise=${(totals) => after(conversation.raiseBudget(totals))}
        refuse=${() => after(conversation.refuseBudget())}
      />`}
      ${pending.length > 1 && html`<p class="dock-count">The agent is waiting for ${pending.length} answers.</p>`}
      ${pending.map((call) => html`
        <${Waiting} key=${call.tool_call_id} call=${call} state=${state} onDecided=${onDecided} />
      `)}
    </section>
  `;
}

/** Whether the focus is nowhere, or in an empty composer. The dock takes it from nothing else: a person may be writing. */
function isFocusFree() {
  const { activeElement } = document;
  return activeElement === document.body || (activeElement.id === "question" && activeElement.value === "");
}

/** Calls `onDecided` if an answer was accepted. Resolves with its error, or null. */
async function reported(answer, onDecided) {
  const error = await answer;
  if (error === null) onDecided();
  return error;
}

function Waiting({ call, state, onDecided }) {
  const { conversation, isOurs } = state;
  const { tool_call_id: id, kind } = call;
  const isLast = () => conversation.get().pending.every((other) => other.tool_call_id === id);
  const after = (answer) => reported(answer, () => isLast() && onDecided());
  if (kind === "approval") {
    const approve = (changes) => after(conversation.approve(id, changes));
    const refuse = (reason) => after(conversation.refuse(id, reason));
    return html`<${ApprovalCard} call=${call} about=${aboutCall(state, id)} approve=${approve} refuse=${refuse} />`;
  }
  if (!Object.hasOwn(pageTools, call.name)) {
    return html`<${ResultCard}
      call=${call}
      send=${(content, how) => after(conversation.sendToolResult(id, content, how))}
    />`;
  }
  return html`<${PageCall} call=${call} isOurs=${isOurs} take=${() => conversation.attach(state.runId)} />`;
}

function aboutCall({ messages, runId }, id) {
  const answer = messages.find(({ role, run_id }) => role === "assistant" && run_id === runId);
  const part = answer?.parts.find(({ type, call }) => type === "tool_call" && call.tool_call_id === id);
  return part ? aboutSource(part.call) : "";
}

/** A call of one of this page's tools. The page that asked makes it by itself. */
function PageCall({ call, isOurs, take }) {
  const where = isOurs ? "is running in this tab." : "runs in the tab that asked.";
  return html`
    <section class=${isOurs ? "approval" : "approval asks"} tabindex="-1" aria-label=${`Call of ${call.name}`}>
      <h3>
        <${Icon} name="tool" /><span><code>${call.name}</code> ${where}</span>
      </h3>
      ${!isOurs &&
      html`<div class="approval-actions">
        <button type="button" class="primary" onClick=${take}>Run here</button>
      </div>`}
    </section>
  `;
}

/** A call of a tool that this page doesn't have: a person may write its result. */
function ResultCard({ call, send }) {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");
  const [isSending, setSending] = useState(false);
  const answer = async (isError) => {
    setSending(true);
    const error = await send(text, { isError });
    setSending(false);
    setProblem(error ? explain(error) : "");
  };
  return html`
    <section class="approval asks" tabindex="-1" aria-label=${`Call of ${call.name}`}>
      <h3><${Icon} name="tool" /><span><code>${call.name}</code> belongs to another page. Enter its result:</span></h3>
      <textarea
        rows="2"
        aria-label=${`Result of ${call.name}`}
        value=${text}
        onInput=${({ target }) => setText(target.value)}
      ></textarea>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      <div class="approval-actions">
        <button type="button" class="primary" disabled=${isSending} onClick=${() => answer(false)}>Send result</button>
        <button type="button" class="danger" disabled=${isSending} onClick=${() => answer(true)}>Send as error</button>
      </div>
    </section>
  `;
}
