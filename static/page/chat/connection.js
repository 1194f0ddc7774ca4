/** The line above the composer while the service can't be reached. */

import { explain } from "agent-stream";

import { html } from "../html.js";

const LOST = "The connection was lost. The page reads on as soon as it is back.";
const STOPPING = "Stopping… The run goes on until the service has confirmed it.";
const UNDELIVERED = "Your answer to the agent has not arrived yet. The page sends it again until it does.";
const UNREACHABLE = "The service can't be reached. The page tries again until it can.";

export function Connection({ state }) {
  const words = wordsOf(state);
  if (words === null) return null;
  return html`
    <p class="connection">
      <span class="dot is-running"></span><span>${words}</span>
      <button type="button" class="plain" onClick=${() => void state.conversation.reconnect()}>Try now</button>
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
