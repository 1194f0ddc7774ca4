/** The card that shows the line for `.env` with which a real model answers. */

import { useState } from "preact/hooks";

import { CopyButton } from "../chat/copy_button.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";

const LINES = {
  Dedalus: "DEDALUS_API_KEY=your-key",
  OpenAI: "OPENAI_API_KEY=your-key",
  Anthropic: "ANTHROPIC_API_KEY=your-key",
  Ollama: "DEDALUS_BASE_URL=http://localhost:11434",
};

export function RealModel() {
  const [name, setName] = useState("Dedalus");
  return html`
    <div class="card real-model">
      <h3><${Icon} name="key" />Use a real model</h3>
      <p class="small muted">Add one line to <code>.env</code> next to <code>app.py</code>, then restart.</p>
      <div class="row choices" role="group" aria-label="Provider">
        ${Object.keys(LINES).map(
          (other) => html`<button key=${other} type="button" class="plain" aria-pressed=${other === name} onClick=${() => setName(other)}>${other}</button>`,
        )}
      </div>
      <div class="row env-line">
        <code>${LINES[name]}</code>
        <${CopyButton} text=${() => LINES[name]} label="Copy line" />
      </div>
    </div>
  `;
}
