/** The run that the inspector shows: a replay, the run that this page follows, or one from the service's log. */

import { useEffect, useState } from "preact/hooks";

import { BASE_URL } from "../api.js";
import { useConversation } from "../conversation.js";
import { runPath } from "../paths.js";
import { useStore } from "../store.js";
import { replayStatus } from "./playback.js";
import { framesIn, isLeft } from "./stored_log.js";

const LOOK_MS = 2_000; // how often a run is looked at that another page follows

/** The URL of a run's events as JSON lines. */
export const logUrl = (runId) => `${BASE_URL}${runPath(runId)}/events?wait=false`;

/** Returns the text of a run's log. Rejects if the service doesn't have it. */
export async function storedLog(runId) {
  const response = await fetch(logUrl(runId), { cache: "no-store" });
  if (!response.ok) throw new Error(response.status === 404 ? "Run not found." : `HTTP ${response.status}`);
  return response.text();
}

/**
 * Returns `{ runId, frames, isLive, isReplay, workStatus, error }` of the run to show. `isLive`: this page received its events.
 * The rest of a run that was stopped here comes from the service's log.
 * `workStatus` is the status to show while the run's events say that it works.
 */
export function useShownRun() {
  const replay = useStore((state) => state.replay);
  const followed = useStore((state) => state.frames);
  const named = useStore((state) => state.route.run);
  const { messages, runId: latestId, status } = useConversation();
  const followedId = followed[0]?.event.run_id ?? null;
  const runId = named ?? followedId ?? messages.findLast(({ run_id: id }) => id !== "")?.run_id ?? null;
  const isFollowed = runId !== null && runId === followedId;
  const isRead = isFollowed && !isLeft(followed, latestId, status);
  const stored = useStoredRun(isRead || replay ? null : runId);
  if (replay) {
    const { name, frames, position } = replay;
    return { runId: frames[0].event.run_id, name, frames: frames.slice(0, position), isLive: false, isReplay: true, workStatus: replayStatus(replay), error: null };
  }
  const isLive = isFollowed && stored.frames.length <= followed.length;
  return { runId, isReplay: false, isLive, workStatus: "streaming", frames: isLive ? followed : stored.frames, error: stored.error };
}

const NOTHING = { frames: [], error: null };

/** Loads a run's log, and again while it has no end. */
function useStoredRun(runId) {
  const [loaded, show] = useState({ runId: null, ...NOTHING });
  useEffect(() => {
    if (runId === null) return undefined;
    const left = new AbortController();
    void follow(runId, left.signal, show);
    return () => left.abort();
  }, [runId]);
  return loaded.runId === runId ? { frames: loaded.frames, error: loaded.error } : NOTHING;
}

async function follow(runId, signal, show) {
  while (!signal.aborted) {
    const found = await storedLog(runId).then(
      (text) => ({ runId, frames: framesIn(text), error: null }),
      (cause) => ({ runId, frames: [], error: cause.message }),
    );
    if (signal.aborted) return;
    show(found);
    if (found.error || found.frames.at(-1)?.event.event === "complete") return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
