/** The line above the composer while the service can't be reached. */

import { explain } from "agent-stream";

import { html } from "../html.js";

const LOST = "The connection was lost. The page reads on as soon as it is back.";

export function Connection({ state }) {
  const { status, error, conversation } = state;
  const isLost = status === "reconnecting" || (status === "connecting" && error !== null);
  if (!isLost) return null;
  const words = status === "reconnecting" ? LOST : explain(error);
  return html`
    <p class="connection">
      <span class="dot is-running"></span><span>${words}</span>
      <button type="button" class="plain" onClick=${() => void conversation.reconnect()}>Try now</button>
    </p>
  `;
}
