/** The page: three columns. On a narrow window the outer ones are drawers. */

import { Chat } from "./chat/chat.js";
import { closeDrawer } from "./drawers.js";
import { Header } from "./header/header.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Compare } from "./inspector/compare.js";
import { Inspector } from "./inspector/inspector.js";
import { NamedReplay } from "./inspector/named_replay.js";
import { Sidebar } from "./sidebar/sidebar.js";
import { useStore } from "./store.js";

export function App() {
  const drawer = useStore((state) => state.drawer);
  const isInspecting = useStore((state) => state.isInspecting);
  const isReplay = useStore((state) => Boolean(state.replay));
  return html`
    ${!isReplay && html`<a class="skip" href="#question">Skip to message box</a>`}
    <div class=${isInspecting ? "shell is-inspecting" : "shell"}>
      <${Side} name="sidebar" tag="nav" label="Chats and runs" drawer=${drawer}><${Sidebar} /><//>
      <main class="middle" inert=${drawer !== null}><${Header} /><${Chat} /></main>
      <${Side} name="inspector" tag="aside" label="Inspector" drawer=${drawer}>
        ${drawer === "inspector" && html`<${InspectorBar} />`}
        <${Inspector} />
      <//>
      ${drawer && html`<div class="backdrop" onClick=${closeDrawer}></div>`}
      <${NamedReplay} />
      <${Compare} />
    </div>
  `;
}

/** The head of the inspector's drawer, with a button that closes it. */
function InspectorBar() {
  return html`
    <div class="drawer-bar">
      <span>Inspector</span>
      <button type="button" class="plain" aria-label="Close inspector" onClick=${closeDrawer}><${Icon} name="close" /></button>
    </div>
  `;
}

/** A column at the side. While the other one is open as a drawer, it can't be reached. */
function Side({ name, tag: Tag, label, drawer, children }) {
  const isOpen = drawer === name;
  const isClosedOff = drawer !== null && !isOpen;
  return html`<${Tag} class="side ${name} ${isOpen ? "is-open" : ""}" aria-label=${label} inert=${isClosedOff}>${children}<//>`;
}
