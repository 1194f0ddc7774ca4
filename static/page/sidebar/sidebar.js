/** The left column: sessions, runs, tools and MCP servers. */

import { BASE_URL } from "../api.js";
import { closeDrawer } from "../drawers.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { navigate, newChat } from "../route.js";
import { useStore } from "../store.js";
import { Tabs } from "../tabs.js";
import { Runs } from "./runs.js";
import { Servers } from "./servers.js";
import { Sessions, useSessions } from "./sessions.js";
import { Tools } from "./tools.js";

const TABS = [
  { id: "sessions", title: "Chats", View: Sessions },
  { id: "runs", title: "Runs", View: Runs },
  { id: "tools", title: "Tools", View: Tools },
  { id: "mcp", title: "MCP", View: Servers },
];

export function Sidebar() {
  const named = useStore(({ route }) => route.list);
  const { id: selected } = TABS.find(({ id }) => id === named) ?? TABS[0];
  useSessions();
  const select = (id) => navigate({ list: id === TABS[0].id ? null : id }, { replace: true });
  return html`
    <div class="brand">
      <img src="${BASE_URL}/static/page/icon.svg" alt="" width="24" height="24" />
      <span>Agent Stream</span>
      <button type="button" class="plain close-drawer" aria-label="Close sidebar" onClick=${closeDrawer}>
        <${Icon} name="close" />
      </button>
    </div>
    <div class="new-chat">
      <button type="button" class="primary" onClick=${newChat}><${Icon} name="plus" />New chat</button>
    </div>
    <${Tabs} name="sidebar" label="Lists" tabs=${TABS} selected=${selected} onSelect=${select} />
    <p class="links">
      <a href="${BASE_URL}/docs">API</a>
      <a href="${BASE_URL}/redoc">Reference</a>
      <a href="${BASE_URL}/openapi.json">OpenAPI</a>
    </p>
  `;
}
