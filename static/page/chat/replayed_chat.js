/** The chat while a replay is open: the run's messages up to the event that is shown, in place of the conversation. */

import { html } from "../html.js";
import { closeReplay } from "../inspector/replay.js";
import { Answer } from "./answer.js";
import { Question } from "./question.js";
import { useStickToEnd } from "./stick.js";

export function ReplayedChat({ replay: { name, frames, position, messages } }) {
  const { scroller, content } = useStickToEnd();
  return html`
    <div class="chat">
      <div class="scroller" ref=${scroller} tabindex="0" role="log" aria-live="off" aria-label="Replay">
        <div class="column" ref=${content}>
          ${messages.map((message) => html`
            <div class="message" key=${message.message_id}>
              ${message.role === "user" ? html`<${Question} message=${message} />` : html`<${Answer} message=${message} />`}
            </div>
          `)}
        </div>
      </div>
      <div class="foot">
        <div class="column">
          <p class="replay-bar">
            <span class="tag">Replay</span>
            <span class="mono tiny cut">${name}</span>
            <span class="tiny muted">event ${position} of ${frames.length}</span>
            <button type="button" onClick=${closeReplay}>Back to the chat</button>
          </p>
        </div>
      </div>
    </div>
  `;
}
