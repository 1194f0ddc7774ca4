/** The left column: sessions, runs, tools and MCP servers. */

import { html } from "../html.js";
import { newChat } from "../route.js";

export function Sidebar() {
  return html`
    <div class="brand">Agent Stream</div>
    <button type="button" class="primary" onClick=${newChat}>New chat</button>
  `;
}
