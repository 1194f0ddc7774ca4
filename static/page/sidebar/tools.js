/** The Python tools that the service offers. */

import { html } from "../html.js";
import { useStore } from "../store.js";

export function Tools() {
  const tools = useStore((state) => state.catalog.tools);
  if (!tools) return null;
  if (tools.length === 0) return html`<p class="hint">No tools yet. Add a Python file with a @tool function to the tools folder.</p>`;
  return html`<div class="items">${tools.map((tool) => html`<${Tool} key=${tool.name} tool=${tool} />`)}</div>`;
}

/** A tool: its description, and the JSON schema of its arguments when it is opened. */
export function Tool({ tool }) {
  const { name, description, parameters, approval } = tool;
  return html`
    <details class="offer">
      <summary><span class="mono">${name}</span>${approval && html` <span class="tag">needs approval</span>`}</summary>
      <p class="small">${description}</p>
      ${Object.entries(parameters?.properties ?? {}).map(
        ([argument, schema]) => html`
          <p class="small" key=${argument}><span class="mono">${argument}</span> <span class="muted">${schema.description ?? schema.type}</span></p>
        `,
      )}
    </details>
  `;
}
