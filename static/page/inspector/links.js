/** Leads from the chat and the waterfall to the event that they show. */

import { showInspector } from "../drawers.js";
import { navigate } from "../route.js";
import { store } from "../store.js";
import { storedLog } from "./shown_run.js";
import { framesIn } from "./stored_log.js";

/** Shows an event of a run. Without a number, shows all of them. */
export function showEvent(runId, seq = null) {
  const isReplay = store.get().replay !== null;
  navigate({ ...(!isReplay && { run: runId }), seq, tab: seq === null ? "events" : null }, { replace: true });
  showInspector();
}

/** Shows the event of a tool call. */
export const showCall = (runId, callId) =>
  showFirst(runId, ({ event, data }) => event === "tool_use" && data.tool_call_id === callId);

/** Shows the event of a run's failure. */
export const showFailure = (runId) => showFirst(runId, ({ event }) => event === "error");

async function showFirst(runId, isWanted) {
  const frames = await framesOf(runId).catch(() => []);
  showEvent(runId, frames.find(({ event }) => isWanted(event))?.event.seq);
}

/** Returns the frames of a run: of a replay, of the run that is followed, or of the service's log. */
async function framesOf(runId) {
  const { replay, frames } = store.get();
  if (replay !== null) return replay.frames;
  return frames[0]?.event.run_id === runId ? frames : framesIn(await storedLog(runId));
}
