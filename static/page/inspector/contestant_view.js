/** One side of a comparison: its model, its numbers and its answer. */

import { TextView } from "../chat/text_view.js";
import { ModelMenu } from "../header/model_picker.js";
import { shortName } from "../header/models.js";
import { html } from "../html.js";
import { useExternal } from "../store.js";
import { count, duration, speed } from "./formats.js";
import { measuresOf } from "./measures.js";
import { spansOf } from "./timing.js";

/** Returns the model of a side's run, or "" before it has begun. */
export const modelOf = ({ frames }) => frames[0]?.event.data.model ?? "";

/** `picked` is the name of the model that is asked next, or "" for that of the run, or `standard` before there is one. */
export function ContestantView({ contestant, label, picked, standard, onPick }) {
  const state = useExternal(contestant, () => contestant.get());
  const { answer, isStreaming, error } = state;
  const model = picked || modelOf(state) || standard || null;
  return html`
    <section class="contestant" aria-label=${label}>
      <${ModelMenu} label=${label} chosen=${model} words=${shortName(model)} onPick=${onPick} />
      <${Figures} ...${state} />
      ${error && html`<p class="note is-bad" role="alert">${error.message} (${error.code})</p>`}
      <div class="contestant-text"><${TextView} text=${answer} isWhole=${!isStreaming} /></div>
    </section>
  `;
}

function Figures({ status, frames }) {
  const { tokensPerS, firstTokenMs, durationMs, usage } = measuresOf(frames, spansOf(frames));
  return html`
    <p class="figures tiny" role="status">
      <span class="tag">${status}</span>
      ${frames.length > 0 && html`
        <span>first token ${duration(firstTokenMs)}</span>
        <span>total ${duration(durationMs)}</span>
        <span>${count(usage?.output_tokens)} tokens</span>
        ${tokensPerS !== null && html`<span>${speed(tokensPerS)} tok/s</span>`}
      `}
    </p>
  `;
}
