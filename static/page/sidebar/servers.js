/** The MCP servers on offer. The tools of a configured one are loaded when it is opened. */

import { useState } from "preact/hooks";

import { api } from "../api.js";
import { html } from "../html.js";
import { useStore } from "../store.js";
import { Tool } from "./tools.js";

export function Servers() {
  const servers = useStore((state) => state.catalog.mcpServers);
  if (!servers) return null;
  return html`
    <div class="items">${servers.map((server) => html`<${Server} key=${server.server} server=${server} />`)}</div>
  `;
}

function Server({ server }) {
  const { server: id, name, description, configured, tool_count: count } = server;
  const [tools, setTools] = useState(null);
  const [error, setError] = useState(null);
  const load = ({ target }) => {
    if (!target.open || !configured || tools) return;
    api(`/api/agent/mcp-servers/${encodeURIComponent(id)}/tools`).then(
      (body) => setTools(body.tools),
      (failure) => setError(failure.message),
    );
  };
  return html`
    <details class="offer" onToggle=${load}>
      <summary>${name}${configured && html` <span class="tag">configured</span>`}</summary>
      <p class="small mono cut">${id}</p>
      <p class="small">${description}${count ? ` ${count} tools.` : ""}</p>
      ${error && html`<p class="hint" role="alert">${error}</p>`}
      ${tools?.map((tool) => html`<${Tool} key=${tool.name} tool=${tool} />`)}
    </details>
  `;
}
