/** Picks a script of simulate for the next questions. */

import { useId } from "preact/hooks";

import { choose } from "./choice.js";
import { html } from "./html.js";
import { useStore } from "./store.js";

const SCENARIOS = {
  default: "Thinking, a tool call, and an answer",
  long: "A long answer",
  progress: "A tool that reports progress",
  approval: "A call that needs your approval",
  client_tool: "A tool that runs in your browser",
  fallback: "A second model takes over after a failure",
  structured: "An answer in the form of a schema",
  sources: "An answer that cites web pages",
  budget: "A spent budget that you can raise",
  tool_error: "A tool that fails",
  error: "A model that fails",
  slow: "30 seconds of silence",
  truncated: "A connection that drops at event 8",
};

export function ScenarioPicker() {
  const title = useId();
  const scenario = useStore((state) => state.choice.scenario);
  return html`
    <section aria-labelledby=${title}>
      <h3 id=${title}>Scripted answers</h3>
      <p class="small muted">Answer your next questions with a script from /stream/simulate instead of a model.</p>
      <select aria-labelledby=${title} value=${scenario ?? ""} onChange=${(event) => choose({ scenario: event.target.value || null })}>
        <option value="">Off (use the model)</option>
        ${Object.entries(SCENARIOS).map(([name, about]) => html`<option key=${name} value=${name}>${name}: ${about}</option>`)}
      </select>
    </section>
  `;
}
