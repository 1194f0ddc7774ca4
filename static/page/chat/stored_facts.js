/**
 * Facts about runs that had ended before the page was opened: from the service's list of runs, and from the events of the shown
 * ones, as long as there are few of them.
 */

import { useContext, useEffect } from "preact/hooks";

import { api } from "../api.js";
import { storedLog } from "../inspector/shown_run.js";
import { framesIn } from "../inspector/stored_log.js";
import { useExternal, useStore } from "../store.js";
import { facts, factsAfter, factsOf, NOTHING, ReplayedFacts } from "./facts.js";

/** A run that took longer waited for a person. How long it has worked isn't stored. */
const LONGEST_RUN_MS = 3_600_000;
/** The latest answers of a chat whose events are read, and the events that such a run may have: about 200 kB. */
const MOST_RUNS = 10;
const MOST_EVENTS = 1_000;

/** Loads what is stored about the runs of the answers of which nothing is known, one after the other, the latest first. */
export function useStoredFacts(messages) {
  const session = useStore(({ route }) => route.session);
  const isReplayed = useContext(ReplayedFacts) !== null;
  const ended = isReplayed ? [] : messages.filter(({ role, status }) => role === "assistant" && status !== "running");
  const isMissing = useExternal(facts, () => ended.some(({ run_id }) => factsOf(run_id) === NOTHING));
  const unread = useExternal(facts, () => ended.slice(-MOST_RUNS).findLast(isUnread)?.run_id ?? null);
  useEffect(() => {
    if (session !== null && isMissing) void loadRuns(session);
  }, [session, isMissing]);
  useEffect(() => {
    if (unread !== null) void readLog(unread);
  }, [unread]);
}

function isUnread({ run_id }) {
  const { unread } = factsOf(run_id);
  return unread > 0 && unread <= MOST_EVENTS;
}

async function loadRuns(session) {
  const query = new URLSearchParams({ session_id: session, limit: "100" });
  const answer = await api(`/api/agent/runs?${query}`).catch(() => null);
  const unknown = (answer?.runs ?? []).filter(({ run_id }) => factsOf(run_id) === NOTHING);
  facts.set(Object.fromEntries(unknown.map((run) => [run.run_id, recordedFacts(run)])));
}

function recordedFacts({ usage = null, model, answered_by, created_at, finished_at, last_seq }) {
  const took = finished_at ? Date.parse(finished_at) - Date.parse(created_at) : Infinity;
  const durationMs = took < LONGEST_RUN_MS ? took : null;
  return { ...NOTHING, usage, model: answered_by ?? model, durationMs, unread: finished_at ? last_seq : 0 };
}

/** Reads the events of a run once. If they are gone, what the record says remains. */
async function readLog(runId) {
  const lines = await storedLog(runId).catch(() => null);
  const known = factsOf(runId);
  if (known.unread === 0) return; // it has been read meanwhile
  facts.set({ [runId]: lines === null ? { ...known, unread: 0 } : framesIn(lines).reduce(factsAfter, NOTHING) });
}
