/** Opens the replay that the URL names, as soon as its run is loaded. */

import { useEffect } from "preact/hooks";

import { useConversation } from "../conversation.js";
import { html } from "../html.js";
import { useStore } from "../store.js";
import { openReplay } from "./replay.js";
import { useShownRun } from "./shown_run.js";

/** Shows nothing. */
export function NamedReplay() {
  const position = useStore(({ route, replay }) => (replay === null && route.run !== null ? route.replay : null));
  return position === null ? null : html`<${Opener} position=${position} />`;
}

function Opener({ position }) {
  const { runId, frames } = useShownRun();
  const { messages } = useConversation();
  const ofRun = messages.filter(({ run_id }) => run_id === runId);
  const isLoaded = frames.length >= position || frames.at(-1)?.event.event === "complete";
  const isReady = frames.length > 0 && isLoaded && ofRun.length > 0;
  useEffect(() => {
    const question = ofRun.find(({ role }) => role === "user");
    if (isReady) openReplay({ name: runId, runId, frames, question, position });
  }, [isReady]);
  return null;
}
