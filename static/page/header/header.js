/** The bar above the chat: its title, and what the next question is sent with. */

import { useEffect } from "preact/hooks";

import { choose } from "../choice.js";
import { openDrawer } from "../drawers.js";
import { html } from "../html.js";
import { Icon } from "../icons.js";
import { store, useStore } from "../store.js";
import { ModelPicker } from "./model_picker.js";
import { Parameters } from "./parameters.js";
import { ToolPicker } from "./tool_picker.js";

const NEW = "New chat";

export function Header() {
  const title = useStore(titleOf);
  useEffect(() => {
    document.title = title === NEW ? "Agent Stream" : `${title} · Agent Stream`;
  }, [title]);
  return html`
    <header class="bar">
      <button type="button" class="plain open-sidebar" aria-label="Open sidebar" onClick=${() => openDrawer("sidebar")}>
        <${Icon} name="menu" />
      </button>
      <h1 class="title cut" title=${title}>${title}</h1>
      <${Answerer} />
      <${ToolPicker} />
      <${Parameters} />
      <${InspectorButton} />
    </header>
  `;
}

function titleOf({ route, sessions }) {
  const session = sessions.items.find(({ session_id }) => session_id === route.session);
  return session?.title ?? route.session ?? route.run ?? NEW;
}

/** What answers the next question: a model, or the script that is chosen in its place, which a click turns off. */
function Answerer() {
  const scenario = useStore((state) => state.choice.scenario);
  if (!scenario) return html`<${ModelPicker} />`;
  return html`
    <button type="button" class="script" aria-label="Script: ${scenario}, turn off" onClick=${() => choose({ scenario: null })}>
      Script: ${scenario}<${Icon} name="close" />
    </button>
  `;
}

/** Opens and closes the inspector: a column on a wide window, a drawer on others. */
function InspectorButton() {
  const isShown = useStore(({ drawer, isInspecting, isWide }) => (isWide ? isInspecting : drawer === "inspector"));
  const toggle = () => {
    const { isWide, isInspecting } = store.get();
    if (isWide) store.set({ isInspecting: !isInspecting });
    else openDrawer("inspector");
  };
  return html`
    <button type="button" class="plain open-inspector" aria-label="Inspector" title="Inspector" aria-pressed=${isShown} onClick=${toggle}>
      <${Icon} name="panel" />
    </button>
  `;
}
