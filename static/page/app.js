/** The page: three columns. On a narrow window the outer ones are drawers. */

import { Chat } from "./chat/chat.js";
import { Header } from "./header/header.js";
import { html } from "./html.js";
import { Inspector } from "./inspector/inspector.js";
import { Sidebar } from "./sidebar/sidebar.js";
import { store, useStore } from "./store.js";

export function App() {
  const drawer = useStore((state) => state.drawer);
  const isInspecting = useStore((state) => state.isInspecting);
  const close = () => store.set({ drawer: null });
  return html`
    <a class="skip" href="#question">Skip to the question</a>
    <div class="shell ${isInspecting ? "is-inspecting" : ""}">
      <nav class="side sidebar ${drawer === "sidebar" ? "is-open" : ""}" aria-label="Sessions and runs"><${Sidebar} /></nav>
      <main class="middle"><${Header} /><${Chat} /></main>
      <aside class="side inspector ${drawer === "inspector" ? "is-open" : ""}" aria-label="Inspector"><${Inspector} /></aside>
      ${drawer && html`<div class="backdrop" onClick=${close}></div>`}
    </div>
  `;
}
