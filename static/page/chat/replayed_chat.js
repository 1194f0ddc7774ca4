/** The chat while a replay is open: the run's messages up to the event that is shown, in place of the conversation. */

import { html } from "../html.js";
import { closeReplay } from "../inspector/replay.js";
import { ReplayedFacts } from "./facts.js";
import { MessageList } from "./message_list.js";
import { useStickToEnd } from "./stick.js";

export function ReplayedChat({ replay: { name, frames, position, messages, facts } }) {
  const { scroller, content } = useStickToEnd();
  return html`
    <div class="chat">
      <div class="scroller" ref=${scroller} tabindex="0" role="log" aria-live="off" aria-label="Replay">
        <div class="column" ref=${content}>
          <${ReplayedFacts.Provider} value=${facts}>
            <${MessageList} messages=${messages} canAsk=${false} editing=${null} setEditing=${null} reconnect=${null} />
          <//>
        </div>
      </div>
      <div class="foot">
        <div class="column">
          <p class="replay-bar">
            <span class="tag">Replay</span>
            <span class="mono tiny cut">${name}</span>
            <span class="tiny muted">event ${position} of ${frames.length}</span>
            <button type="button" onClick=${closeReplay}>Back to chat</button>
          </p>
        </div>
      </div>
    </div>
  `;
}
