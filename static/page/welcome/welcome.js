/** The welcome of a new chat: questions to start with, and the way to a real model. */

import { ask } from "../conversation.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { useStore } from "../store.js";
import { RealModel } from "./real_model.js";

const SCRIPT = "simulated/tools";

/** The script reads its calls in the instructions, so that the chat shows a plain question. */
const STARTERS = [
  {
    icon: "chat",
    title: "Ask a question",
    about: "Why is the sky blue?",
    question: "Why is the sky blue?",
  },
  {
    icon: "tool",
    title: "Watch a tool call",
    about: "A scripted run calls the calculator. No model involved.",
    question: {
      input: "What is 19 % of 2,480?",
      instructions: 'calculate {"expression": "2480 * 0.19"}',
      model: SCRIPT,
      tools: ["calculate"],
      scenario: undefined,
    },
  },
  {
    icon: "person",
    title: "Approve a call",
    about: "The run pauses until you decide, even if you reload.",
    question: {
      input: "What time is it in Oslo?",
      instructions: 'current_time {"timezone": "Europe/Oslo"}',
      model: SCRIPT,
      tools: ["current_time"],
      require_approval: ["current_time"],
      scenario: undefined,
    },
  },
];

export function Welcome() {
  const ready = useStore((state) => state.catalog.ready);
  const isEmbedded = ready?.upstreams[0] === "local";
  return html`
    <section class="welcome" aria-labelledby="welcome-title">
      <h2 id="welcome-title">Ask an agent and watch every step of its answer.</h2>
      <p class="muted">${lineFor(ready, isEmbedded)}</p>
      <ul class="starters">
        ${STARTERS.map((starter) => html`<li key=${starter.title}><${Starter} ...${starter} /></li>`)}
      </ul>
      ${isEmbedded && html`<${RealModel} />`}
    </section>
  `;
}

function lineFor(ready, isEmbedded) {
  if (!ready) return "Answers stream in as events. Watch them in the inspector.";
  if (isEmbedded) return "No API key needed: a small built-in model answers.";
  return `Connected to ${ready.default_model ?? ready.upstreams[0]}. The inspector shows every event.`;
}

function Starter({ icon, title, about, question }) {
  return html`
    <button type="button" class="starter" onClick=${() => void ask(question)}>
      <span class="starter-icon"><${Icon} name=${icon} /></span>
      <span class="starter-text"><strong>${title}</strong><span class="small muted">${about}</span></span>
    </button>
  `;
}
