/** The tab Faults: break this page's connection, and see that nothing is lost. */

import { latestAnswer } from "agent-stream";

import { useConversation } from "../conversation.js";
import { html } from "../html.js";
import { useExternal } from "../store.js";
import { useClock } from "./clock.js";
import { Connections } from "./connections.js";
import { line } from "./faults.js";
import { Proof } from "./proof_view.js";
import { ScenarioPicker } from "../scenario_picker.js";
import { duringAnAnswer } from "./scripted_answer.js";
import { useShownRun } from "./shown_run.js";

const OFFLINE_MS = 10_000;
const SLOW = 5; // events a second
const DROPPED_SEQ = 17;

export function FaultsTab() {
  const state = useExternal(line, () => line.get());
  const { isStreaming: isUnderWay } = latestAnswer(useConversation());
  const { runId, frames, isLive } = useShownRun();
  return html`
    <p class="small muted">
      Break this page's connection and watch the answer recover. Only this tab is
      affected. ${!isUnderWay && "If no answer is streaming, a scripted one starts."}
    </p>
    <div class="faults">
      <${Fault} title="Cut the connection" about="Breaks the stream now." onClick=${() => duringAnAnswer(isUnderWay, () => line.cut())} />
      <${Fault}
        title="Go offline for 10 s"
        about=${state.offlineUntil === null ? "Blocks every request." : html`<${Countdown} until=${state.offlineUntil} />`}
        isOn=${state.offlineUntil !== null}
        onClick=${() => duringAnAnswer(isUnderWay, () => line.goOffline(OFFLINE_MS))}
      />
      <${Fault}
        title="Slow to 5 tokens/s"
        about=${state.tokensPerS === null ? "Simulates a slow connection." : "On. Click for full speed."}
        isOn=${state.tokensPerS !== null}
        onClick=${() => {
          line.setPace(state.tokensPerS === null ? SLOW : null);
          if (state.tokensPerS === null) duringAnAnswer(isUnderWay);
        }}
      />
      <${Fault}
        title="Drop an event"
        about=${state.dropSeq === null ? "Drops event 17 and disconnects." : "Armed. Click to cancel."}
        isOn=${state.dropSeq !== null}
        onClick=${() => {
          line.dropAt(state.dropSeq === null ? DROPPED_SEQ : null);
          if (state.dropSeq === null) duringAnAnswer(isUnderWay);
        }}
      />
    </div>
    ${isLive && html`
      <${Connections} connections=${state.connections.filter((each) => each.runId === runId)} last=${frames.at(-1)?.event.seq} />
      <${Proof} key=${runId} runId=${runId} frames=${frames} />
    `}
    <${ScenarioPicker} />
  `;
}

function Countdown({ until }) {
  useClock(true);
  return `Back online in ${Math.max(0, Math.ceil((until - Date.now()) / 1_000))} s.`;
}

/** A button for a fault. `isOn` is true while a fault stays switched on. */
function Fault({ title, about, isOn, onClick }) {
  return html`
    <button type="button" class="fault" aria-pressed=${isOn} onClick=${onClick}>
      <strong>${title}</strong>
      <span class="tiny">${about}</span>
    </button>
  `;
}
