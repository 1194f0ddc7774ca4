/**
 * Compare: one question to two models, side by side. The URL names the models, and then their runs. It is an entry of the history:
 * Back closes it, and brings back one that was closed.
 */

import { latestAnswer } from "agent-stream";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { useConversation } from "../conversation.js";
import { isOfPage } from "../drawers.js";
import { html } from "../html.js";
import { navigate } from "../route.js";
import { store, useStore } from "../store.js";
import { createContestant } from "./contestant.js";
import { ContestantView, modelOf } from "./contestant_view.js";

const isRun = (side) => /^run_[0-9a-f]+$/.test(side);
const CLOSED = { compare: null, question: null };

/** Changes what the URL names of the comparison. */
const name = (patch) => navigate(patch, { replace: true });

/** The button that opens the comparison. */
export function CompareButton() {
  return html`
    <footer class="compare-line">
      <button type="button" class="plain small" onClick=${() => navigate({ compare: ["", ""] }, { closes: true })}>
        <span aria-hidden="true">⇄</span> Compare two models…
      </button>
    </footer>
  `;
}

/** The dialog, while the URL names a comparison. */
export function Compare() {
  const isOpen = useStore(({ route }) => route.compare !== null);
  return isOpen && html`<${Dialog} />`;
}

function Dialog() {
  const dialog = useRef(null);
  useLayoutEffect(() => dialog.current.showModal(), []);
  return html`
    <dialog class="compare" ref=${dialog} aria-labelledby="compare-title" onClose=${close}>
      <header class="spread">
        <h2 id="compare-title">Compare two models</h2>
        <button type="button" class="plain" aria-label="Close" onClick=${() => dialog.current.close()}>✕</button>
      </header>
      <${Comparison} />
    </dialog>
  `;
}

/** Closes the comparison. One that has asked nothing leaves no entry in the history. */
function close() {
  const { compare } = store.get().route;
  if (compare.some(isRun)) navigate(CLOSED);
  else if (isOfPage()) history.back();
  else name(CLOSED);
}

/** The form and both sides. A side that the URL names by its run is read again. */
function Comparison() {
  const [{ compare: sides, question }] = useState(() => store.get().route);
  const [contestants] = useState(() => sides.map((side) => createContestant(isRun(side) ? side : null)));
  const [picked, setPicked] = useState(() => sides.map((side) => (isRun(side) ? "" : side)));
  const { isStreaming: isBusy } = latestAnswer(useConversation());
  const known = useStore((state) => state.catalog.models);
  useLayoutEffect(() => followRuns(contestants), []);
  const standard = sides.map((_, place) => defaultModel(known, place));
  const pick = (place, model) => {
    const models = picked.with(place, model ?? standard[0]);
    setPicked(models);
    if (contestants.every((contestant) => contestant.get().runId === null)) name({ compare: models });
  };
  const ask = (event) => {
    event.preventDefault();
    const input = new FormData(event.target).get("question");
    const models = contestants.map((contestant, place) => picked[place] || modelOf(contestant.get()) || standard[place]);
    setPicked(models);
    name({ compare: models, question: input });
    contestants.forEach((contestant, place) => contestant.ask({ input, ...(models[place] && { model: models[place] }) }));
  };
  return html`
    <form class="compare-form" onSubmit=${ask}>
      <input name="question" aria-label="Question for both models" placeholder="Ask both models" defaultValue=${question ?? ""} autofocus required />
      <button type="submit" class="primary" disabled=${isBusy}>Ask both</button>
    </form>
    ${isBusy && html`<p class="note">The chat is still answering. Wait for it to finish, or stop it.</p>`}
    <div class="contestants">
      ${contestants.map((contestant, place) => html`
        <${ContestantView}
          key=${place}
          contestant=${contestant}
          label=${`Model ${place + 1}`}
          picked=${picked[place]}
          standard=${standard[place]}
          onPick=${(model) => pick(place, model)}
        />
      `)}
    </div>
  `;
}

/** The first side begins with the default model, the second with another one. */
function defaultModel(known, place) {
  if (!known) return "";
  const ids = known.models.map(({ id }) => id);
  const first = known.default_model ?? ids[0] ?? "";
  return place === 0 ? first : (ids.find((id) => id !== first) ?? "");
}

/** Names both runs in the URL as soon as they have begun. Returns a function that leaves them. */
function followRuns(contestants) {
  const look = () => {
    const runs = contestants.map((contestant) => contestant.get().runId);
    const named = store.get().route.compare;
    const isNew = named !== null && runs.some((run, place) => run !== named[place]);
    if (isNew && !runs.includes(null)) name({ compare: runs });
  };
  const forget = contestants.map((contestant) => contestant.subscribe(look));
  return () => {
    forget.forEach((stop) => stop());
    contestants.forEach((contestant) => contestant.leave());
  };
}
