/** The line above the composer while the service can't be reached. */

import { explain } from "agent-stream";

import { html } from "../html.js";

const LOST = "Connection lost. Resuming when it's back.";
const STOPPING = "Stopping… The run continues until the service confirms.";
const UNDELIVERED = "Your answer hasn't reached the service yet. Retrying…";
const UNREACHABLE = "Can't reach the service. Retrying…";

export function Connection({ state }) {
  const words = wordsOf(state);
  if (words === null) return null;
  return html`
    <p class="connection">
      <span class="dot is-running"></span><span>${words}</span>
      <button type="button" class="plain" onClick=${() => void state.conversation.reconnect()}>Retry now</button>
    </p>
  `;
}

function wordsOf({ status, error, history }) {
  if (status === "stopping") return STOPPING;
  if (status === "reconnecting") return LOST;
  if (status === "waiting" && error !== null) return UNDELIVERED;
  if (status === "connecting" && error !== null) return explain(error);
  if (history.error?.code === "network") return UNREACHABLE;
  return history.error && explain(history.error);
}
