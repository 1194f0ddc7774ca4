/** Compare: one question to two models, side by side. */

import { latestAnswer } from "agent-stream";
import { useEffect, useRef, useState } from "preact/hooks";

import { TextView } from "../chat/text_view.js";
import { useConversation } from "../conversation.js";
import { html } from "../html.js";
import { useExternal, useStore } from "../store.js";
import { createContestant } from "./contestant.js";
import { count, duration } from "./formats.js";
import { measuresOf } from "./measures.js";
import { spansOf } from "./timing.js";

/** The button that opens the comparison, and the dialog. */
export function Compare() {
  const dialog = useRef(null);
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    if (isOpen) dialog.current.showModal();
  }, [isOpen]);
  return html`
    <footer class="compare-line">
      <button type="button" class="plain small" onClick=${() => setOpen(true)}><span aria-hidden="true">⇄</span> Compare two models…</button>
    </footer>
    ${isOpen && html`
      <dialog class="compare" ref=${dialog} aria-labelledby="compare-title" onClose=${() => setOpen(false)}>
        <${Comparison} onClose=${() => dialog.current.close()} />
      </dialog>
    `}
  `;
}

function Comparison({ onClose }) {
  const [contestants] = useState(() => [createContestant(), createContestant()]);
  const [models, setModels] = useState([null, null]);
  const { isStreaming: isBusy } = latestAnswer(useConversation());
  const known = useStore((state) => state.catalog.models);
  useEffect(() => () => contestants.forEach((contestant) => contestant.leave()), []);
  const chosen = models.map((model, place) => model ?? defaultModel(known, place));
  const compare = (event) => {
    event.preventDefault();
    const input = new FormData(event.target).get("question");
    contestants.forEach((contestant, place) => contestant.ask({ input, ...(chosen[place] && { model: chosen[place] }) }));
  };
  return html`
    <header class="spread">
      <h2 id="compare-title">Compare two models</h2>
      <button type="button" class="plain" aria-label="Close" onClick=${onClose}>✕</button>
    </header>
    <form class="compare-form" onSubmit=${compare}>
      <input name="question" aria-label="Question for both models" placeholder="Ask both models" required />
      <button type="submit" class="primary" disabled=${isBusy}>Ask both</button>
    </form>
    ${isBusy && html`<p class="note">The chat is still answering. Wait for it to finish, or stop it.</p>`}
    <datalist id="compare-models">
      ${known?.models.map(({ id }) => html`<option key=${id} value=${id}></option>`)}
    </datalist>
    <div class="contestants">
      ${contestants.map((contestant, place) => html`
        <${Column}
          key=${place}
          contestant=${contestant}
          label=${`Model ${place + 1}`}
          model=${chosen[place]}
          onModel=${(model) => setModels(models.with(place, model))}
        />
      `)}
    </div>
  `;
}

/** The first column begins with the default model, the second with another one. */
function defaultModel(known, place) {
  if (!known) return "";
  const ids = known.models.map(({ id }) => id);
  const first = known.default_model ?? ids[0] ?? "";
  return place === 0 ? first : (ids.find((id) => id !== first) ?? "");
}

function Column({ contestant, label, model, onModel }) {
  const { answer, isStreaming, status, error, frames } = useExternal(contestant, () => contestant.get());
  const { tokensPerS, firstTokenMs, durationMs, usage } = measuresOf(frames, spansOf(frames));
  return html`
    <section class="contestant" aria-label=${label}>
      <input
        aria-label=${label}
        placeholder="Default model"
        list="compare-models"
        value=${model}
        onFocus=${(event) => event.target.select()}
        onInput=${(event) => onModel(event.target.value)}
      />
      <p class="figures tiny" role="status">
        <span class="tag">${status}</span>
        ${frames.length > 0 && html`
          <span>first token ${duration(firstTokenMs)}</span>
          <span>total ${duration(durationMs)}</span>
          <span>${count(usage?.output_tokens)} tokens</span>
          <span>${tokensPerS === null ? "–" : tokensPerS.toFixed(0)} tok/s</span>
        `}
      </p>
      ${error && html`<p class="note is-bad" role="alert">${error.message} (${error.code})</p>`}
      <div class="contestant-text"><${TextView} text=${answer} isWhole=${!isStreaming} /></div>
    </section>
  `;
}
