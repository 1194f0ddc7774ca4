/** Picks the tools and MCP servers of the next question. */

import { useState } from "preact/hooks";

import { pageTools } from "../chat/page_tools.js";
import { choose } from "../choice.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { useStore } from "../store.js";
import { hasWords } from "../words.js";
import { Popover } from "./popover.js";

const PAGE_TOOLS = Object.entries(pageTools).map(([name, { description }]) => ({ name, description }));
const SERVER = /^https:\/\/\S+$|^[\w.-]+\/[\w.-]+(@[\w.-]+)?$/;

export function ToolPicker() {
  const { tools, mcp_servers: servers } = useStore((state) => state.choice);
  const standard = useStore((state) => state.catalog.defaultTools) ?? [];
  const chosen = tools ?? standard;
  const count = chosen.length + servers.length;
  const button = html`<${Icon} name="tool" /><span class="wide-only">Tools</span> ${count > 0 && html`<span class="count">${count}</span>`}`;
  return html`
    <${Popover} label="Tools and MCP servers" name=${count > 0 ? `Tools ${count} selected` : "Tools and servers"} button=${button}>
      ${() => html`<${Choices} chosen=${chosen} servers=${servers} />`}
    <//>
  `;
}

function Choices({ chosen, servers }) {
  const [words, setWords] = useState("");
  const { tools, mcpServers } = useStore((state) => state.catalog);
  const found = (entries) => entries.filter(({ name, description }) => hasWords(`${name} ${description}`, words));
  const pick = (names) => choose({ tools: names });
  return html`
    <input type="search" aria-label="Search tools and servers" placeholder="Search" value=${words} onInput=${({ target }) => setWords(target.value)} />
    <div class="entries">
      <${Group} title="Python tools" entries=${found(withMissing(tools ?? [], chosen))} chosen=${chosen} change=${pick} />
      <${Group} title="Browser tools" entries=${found(PAGE_TOOLS)} chosen=${chosen} change=${pick} />
      <${Group}
        title="MCP servers"
        entries=${found(serverEntries(mcpServers ?? [], servers))}
        chosen=${servers}
        change=${(names) => choose({ mcp_servers: names })}
      />
    </div>
    <${OtherServer} servers=${servers} />
    <${AskFirst} chosen=${chosen} />
  `;
}

/** The service's tools, and those that were chosen earlier and are gone. */
function withMissing(tools, chosen) {
  const known = new Set([...tools, ...PAGE_TOOLS].map(({ name }) => name));
  const missing = chosen.filter((name) => !known.has(name));
  return [...tools, ...missing.map((name) => ({ name, description: "No longer available." }))];
}

/** The servers of the list, and those that were added by hand. */
function serverEntries(listed, added) {
  const entries = listed.map(({ server, name, description = "" }) => ({ name: server, description: `${name}. ${description}` }));
  const known = new Set(listed.map(({ server }) => server));
  return [...entries, ...added.filter((id) => !known.has(id)).map((name) => ({ name, description: "Added by you." }))];
}

function Group({ title, entries, chosen, change }) {
  const toggle = (name, isOn) => change(isOn ? [...chosen, name] : chosen.filter((other) => other !== name));
  if (entries.length === 0) return null;
  return html`
    <fieldset>
      <legend>${title}</legend>
      ${entries.map(
        ({ name, description }) => html`
          <label key=${name} class="entry">
            <input type="checkbox" checked=${chosen.includes(name)} onChange=${({ target }) => toggle(name, target.checked)} />
            <span class="entry-text"><span class="mono">${name}</span><span class="tiny muted clamp">${description}</span></span>
          </label>
        `,
      )}
    </fieldset>
  `;
}

/** Adds a server that is not in the list, by its name or URL. */
function OtherServer({ servers }) {
  const [isWrong, setWrong] = useState(false);
  const add = (event) => {
    event.preventDefault();
    const field = event.target.elements.server;
    const server = field.value.trim();
    setWrong(!SERVER.test(server));
    if (!SERVER.test(server)) return;
    choose({ mcp_servers: [...new Set([...servers, server])] });
    field.value = "";
  };
  return html`
    <form class="row" onSubmit=${add}>
      <input name="server" aria-label="Add an MCP server" placeholder="https://… or owner/name" aria-invalid=${isWrong} />
      <button type="submit">Add</button>
    </form>
    ${isWrong && html`<p class="hint" role="alert">Enter an https URL or owner/name.</p>`}
  `;
}

function AskFirst({ chosen }) {
  const asksFirst = useStore((state) => state.choice.asks_first);
  const change = ({ target }) => choose({ asks_first: target.checked, tools: chosen });
  return html`
    <label class="row check">
      <input type="checkbox" disabled=${chosen.length === 0} checked=${asksFirst} onChange=${change} />
      <span>Ask me before each Python tool call</span>
    </label>
  `;
}
