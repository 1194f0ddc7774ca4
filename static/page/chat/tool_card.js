/** A tool call: its arguments while they are written, its progress, and its result. */

import { madeWith } from "agent-stream";
import { useState } from "preact/hooks";

import { html } from "../html.js";
import { Icon } from "../icons.js";
import { showCall } from "../inspector/links.js";
import { CopyButton } from "./copy_button.js";
import { duration, visibleJson } from "./format.js";
import { memo } from "./memo.js";
import { aboutSource } from "./sources.js";

/** Characters that are drawn at once. A longer text can still be copied whole. */
const MOST_DRAWN = 20_000;
const MOST_BRIEF = 300;

/** `runId` is the call's run, and `isUnderWay` whether that has not ended. `knownMs` is the call's time, which a stored call lacks. */
export const ToolCard = memo(function ToolCard({ runId, call, knownMs, isUnderWay }) {
  const state = stateOf(call, isUnderWay, knownMs);
  const [isOpen, setOpen] = useState(false);
  const { name, result, progress } = call;
  return html`
    <details class="tool is-${state.kind}" open=${isOpen} onToggle=${(toggle) => setOpen(toggle.currentTarget.open)}>
      <summary>
        <${Icon} name=${state.icon} />
        <code class="name">${name}</code>
        <span class="brief cut">${madeWith(call).slice(0, MOST_BRIEF)}</span>
        <span class="state">${state.words}</span>
        <${Icon} name="fold" />
      </summary>
      ${isOpen && html`<${Details} runId=${runId} call=${call} />`}
    </details>
    ${!result && isUnderWay && progress && html`<${Progress} ...${progress} />`}
    ${result?.is_error && !isOpen && html`<p class="tool-error">${result.content.trim().slice(0, MOST_BRIEF)}</p>`}
  `;
});

function Details({ runId, call }) {
  const { result } = call;
  const show = () => void showCall(runId, call.tool_call_id);
  return html`
    <div class="tool-details">
      <p class="spread muted small">
        ${aboutSource(call)}<button type="button" class="plain small" onClick=${show}>Show event</button>
      </p>
      <${Text} title="Arguments" text=${readable(madeWith(call))} />
      ${call.approval_response && html`<p class="small">${decisionOf(call.approval_response)}</p>`}
      ${result && html`<${Text} title=${result.is_error ? "Error" : "Result"} text=${readableResult(result.content)} />`}
      ${result?.truncated && html`<p class="muted small">Truncated by the service.</p>`}
    </div>
  `;
}

function Text({ title, text }) {
  const rest = text.length - MOST_DRAWN;
  return html`
    <figure class="tool-text">
      <figcaption>${title}<${CopyButton} label=${`Copy ${title.toLowerCase()}`} text=${() => text} /></figcaption>
      <pre tabindex="0" aria-label=${title}>
        ${text.slice(0, MOST_DRAWN)}${rest > 0 && `\n… and ${rest} more characters`}
      </pre>
    </figure>
  `;
}

function Progress({ message, progress, total }) {
  return html`
    <p class="tool-progress">
      <progress aria-label="Progress" value=${total === undefined ? undefined : progress} max=${total}></progress>
      <span>${message ?? (total === undefined ? progress : `${progress} of ${total}`)}</span>
    </p>
  `;
}

/** Returns a call's state: its icon, its words and the kind for its looks. */
function stateOf({ result, approval_request, approval_response, arguments: given, source }, isUnderWay, knownMs) {
  if (result) return ended(result, approval_response, result.duration_ms ?? knownMs);
  if (!isUnderWay) return { kind: "stopped", icon: "stop", words: "not run" };
  if (approval_request && !approval_response) return { kind: "waiting", icon: "wait", words: "needs approval" };
  if (!given) return { kind: "running", icon: "tool", words: "writing arguments" };
  return { kind: "running", icon: "tool", words: source === "client" ? "waiting for a browser" : "running" };
}

function ended({ is_error }, response, ms) {
  const time = ms === undefined ? "" : duration(ms);
  if (response && !response.approved) return { kind: "denied", icon: "close", words: "denied" };
  if (is_error) return { kind: "failed", icon: "alert", words: time ? `failed · ${time}` : "failed" };
  return { kind: "done", icon: "check", words: time || "done" };
}

function decisionOf({ approved, arguments: changed, reason }) {
  if (!approved) return reason ? `Denied: ${reason}` : "Denied.";
  return changed ? "Approved with these arguments." : "Approved.";
}

/** An object or a list in lines, and any other result as it is. */
function readableResult(content) {
  return !/^\s*[[{]/.test(content) || content.length > MOST_DRAWN ? content : readable(content);
}

/** JSON in lines, and any other text as it is. */
function readable(text) {
  try {
    return visibleJson(text);
  } catch {
    return text;
  }
}
