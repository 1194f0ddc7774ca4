/** The agent's answer: thinking, tool calls and text in their order, and how the run ended. */

import { isUnfinished } from "agent-stream";

import { isScript } from "../header/models.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { CitedPages } from "./cited_pages.js";
import { CopyButton } from "./copy_button.js";
import { useFacts } from "./facts.js";
import { Failure } from "./failure.js";
import { cost, count, duration } from "./format.js";
import { memo } from "./memo.js";
import { StructuredAnswer } from "./structured_answer.js";
import { TextView } from "./text_view.js";
import { Thinking } from "./thinking.js";
import { ToolCard } from "./tool_card.js";

/** `regenerate` asks the question of this answer again; null while a run is under way. */
export const Answer = memo(function Answer({ message, regenerate, reconnect }) {
  const { parts, status, error, run_id, sources = [], data_text = null, attempts } = message;
  const facts = useFacts(run_id);
  const isUnderWay = isUnfinished(message);
  const isStructured = data_text !== null;
  const shown = isStructured ? withoutLastText(parts) : parts;
  return html`
    <article class="answer" aria-label="Answer" aria-busy=${isUnderWay}>
      ${shown.map((part, place) => drawPart(part, place, { runId: run_id, isUnderWay, facts, parts }))}
      ${isStructured && html`<${StructuredAnswer} json=${data_text} attempts=${attempts} />`}
      ${isUnderWay && status !== "waiting" && html`<${Working} isBegun=${parts.length > 0} />`}
      <${CitedPages} sources=${sources} />
      ${facts.restarts.map((restart, place) => html`<${Restart} key=${place} ...${restart} />`)}
      ${facts.warnings.map((warning, place) => html`<${Warning} key=${place} ...${warning} />`)}
      ${status === "cancelled" && html`<p class="stopped"><${Icon} name="stop" />Stopped.</p>`}
      ${status === "failed" && error && html`<${Failure} runId=${run_id} error=${error} again=${regenerate} reconnect=${reconnect} />`}
      ${!isUnderWay && html`<${Footer} parts=${parts} facts=${facts} regenerate=${error ? null : regenerate} />`}
    </article>
  `;
});

/** Returns the parts without the text that a structured answer is shown in the place of. */
function withoutLastText(parts) {
  const last = parts.findLastIndex(({ type }) => type === "text");
  return parts.filter((_, place) => place !== last);
}

function drawPart(part, place, { runId, isUnderWay, facts, parts }) {
  const isGrowing = isUnderWay && place === parts.length - 1;
  switch (part.type) {
    case "thinking":
      return html`<${Thinking}
        key=${place}
        text=${part.text}
        took=${tookOf(part, parts, facts)}
        isUnderWay=${isGrowing}
      />`;
    case "text":
      return html`<${TextView} key=${place} text=${part.text} isWhole=${!isGrowing} />`;
    default:
      return html`<${ToolCard}
        key=${place}
        runId=${runId}
        call=${part.call}
        knownMs=${facts.toolMs.get(part.call.tool_call_id)}
        isUnderWay=${isUnderWay}
      />`;
  }
}

/** Returns the time that a piece of thinking took, in ms, or null where the run's events weren't seen. */
function tookOf(part, parts, { thoughts }) {
  const thought = thoughts[parts.filter(({ type }) => type === "thinking").indexOf(part)];
  return thought ? thought.endedAt - thought.startedAt : null;
}

function Working({ isBegun }) {
  return html`<p class="working ${isBegun ? "is-begun" : ""}" aria-hidden="true">
    <span></span><span></span><span></span>
  </p>`;
}

const RESTARTS = {
  fallback: "The model failed partway through.",
  output_invalid: "The answer didn't match the required format.",
  blocked: "The answer was blocked.",
  owner_lost: "The server stopped partway through.",
};

function Restart({ reason, model }) {
  const why = Object.hasOwn(RESTARTS, reason) ? RESTARTS[reason] : "The answer was interrupted.";
  const next = model ? html`<code>${model}</code> started over.` : "It started over.";
  return html`<p class="warning"><${Icon} name="again" /><span>${why} ${next}</span></p>`;
}

function Warning({ message, code }) {
  return html`<p class="warning"><${Icon} name="alert" /><span>${message} <code>${code}</code></span></p>`;
}

function Footer({ parts, facts, regenerate }) {
  const text = () => parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n\n");
  return html`
    <div class="actions">
      ${parts.some(({ type }) => type === "text") &&
      html`<${CopyButton} withWord label="Copy answer" text=${text} />`}
      ${regenerate &&
      html`<button type="button" class="plain" title="Ask the same question again" onClick=${regenerate}>
        <${Icon} name="again" />Regenerate
      </button>`}
      <span class="facts">${factsIn(facts).join(" · ")}</span>
    </div>
  `;
}

function factsIn({ usage, durationMs, model }) {
  const tokens = usage?.output_tokens ?? null;
  const price = cost(usage);
  return [
    ...(model === null ? [] : [isScript(model) ? `script ${model}` : model]),
    ...(tokens === null ? [] : [count(tokens, "token", "tokens")]),
    ...(price === null ? [] : [price]),
    ...(durationMs === null ? [] : [duration(durationMs)]),
  ];
}
