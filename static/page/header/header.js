/** The bar above the chat: what the next question is sent with. */

import { html } from "../html.js";
import { store } from "../store.js";

export function Header() {
  const toggleInspector = () => store.set(({ isInspecting }) => ({ isInspecting: !isInspecting }));
  return html`
    <header class="bar">
      <h1 class="title">New chat</h1>
      <button type="button" onClick=${toggleInspector}>Inspector</button>
    </header>
  `;
}
