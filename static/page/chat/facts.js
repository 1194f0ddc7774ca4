/** Facts about runs that their messages don't have: the seconds of thinking, restarts, warnings, tokens and the time taken. */

import { createContext } from "preact";
import { useContext, useEffect } from "preact/hooks";

import { api } from "../api.js";
import { createStore, store, useExternal, useStore } from "../store.js";

export const NOTHING = { thoughts: [], earlierThoughts: 0, restarts: [], warnings: [], usage: null, durationMs: null, model: null, lastPart: null };
/** A run that took longer waited for a person. How long it has worked isn't stored. */
const LONGEST_RUN_MS = 3_600_000;

/** The facts about a run that is replayed, up to the event that is shown, or null. */
export const ReplayedFacts = createContext(null);
/** The facts, by run. */
const facts = createStore({});
/** The run whose events are being read, and how many have been. */
let reading = { runId: null, count: 0 };

function factsOf(runId) {
  return Object.hasOwn(facts.get(), runId) ? facts.get()[runId] : NOTHING;
}

/** Returns the facts about a run: the same object while nothing is new. */
export function useFacts(runId) {
  const known = useExternal(facts, () => factsOf(runId));
  return useContext(ReplayedFacts) ?? known;
}

/** Reads the events of the shown run as they come. */
export function useFactReader() {
  useEffect(() => store.subscribe(() => readFrames(store.get().frames)), []);
}

function readFrames(frames) {
  const runId = frames[0]?.event.run_id ?? null;
  if (runId !== reading.runId || frames.length < reading.count) reading = { runId, count: 0 };
  const added = frames.slice(reading.count);
  if (added.length === 0) return;
  const before = reading.count === 0 ? NOTHING : factsOf(runId);
  reading.count = frames.length;
  facts.set({ [runId]: added.reduce(factsAfter, before) });
}

/**
 * Returns the facts after one more event. The thoughts are the thinking parts of the answer, in order. The first
 * `earlierThoughts` of them are of earlier steps. `model` is the one that answers.
 */
export function factsAfter(known, { event: { event, data, timestamp } }) {
  switch (event) {
    case "run_started":
      return { ...known, model: data.model };
    case "step_started":
      return { ...known, model: data.model, earlierThoughts: known.thoughts.length, lastPart: null };
    case "step_restarted":
      return restartedFacts(known, data);
    case "thinking":
      return { ...known, thoughts: thoughtsAfter(known, Date.parse(timestamp)), lastPart: "thinking" };
    case "partial_output":
      return known.lastPart === "text" ? known : { ...known, lastPart: "text" };
    case "tool_use_delta":
    case "tool_use":
      return { ...known, lastPart: "tool" };
    case "step_finished":
      return data.model === known.model ? known : { ...known, model: data.model };
    case "warning":
      return { ...known, warnings: [...known.warnings, data] };
    case "complete":
      return { ...known, usage: data.usage, durationMs: data.duration_ms };
    default:
      return known;
  }
}

function restartedFacts(known, restart) {
  const thoughts = known.thoughts.slice(0, known.earlierThoughts);
  const model = restart.model ?? known.model;
  return { ...known, model, thoughts, restarts: [...known.restarts, restart], lastPart: null };
}

function thoughtsAfter({ thoughts, lastPart }, at) {
  const last = thoughts.at(-1);
  if (lastPart !== "thinking" || !last) return [...thoughts, { startedAt: at, endedAt: at }];
  return thoughts.with(-1, { ...last, endedAt: at });
}

/** Loads what is stored about the session's runs, when an answer is shown about which nothing is known. */
export function useStoredFacts(messages) {
  const session = useStore(({ route }) => route.session);
  const isReplayed = useContext(ReplayedFacts) !== null;
  const isUnknown = ({ role, status, run_id }) =>
    role === "assistant" && status !== "running" && factsOf(run_id) === NOTHING;
  const isMissing = !isReplayed && messages.some(isUnknown);
  useEffect(() => {
    if (session !== null && isMissing) void loadRuns(session);
  }, [session, isMissing]);
}

async function loadRuns(session) {
  const query = new URLSearchParams({ session_id: session, limit: "100" });
  const answer = await api(`/api/agent/runs?${query}`).catch(() => null);
  const unknown = (answer?.runs ?? []).filter(({ run_id }) => factsOf(run_id) === NOTHING);
  facts.set(Object.fromEntries(unknown.map((run) => [run.run_id, storedFacts(run)])));
}

function storedFacts({ usage = null, model, answered_by, created_at, finished_at }) {
  const took = finished_at ? Date.parse(finished_at) - Date.parse(created_at) : Infinity;
  return { ...NOTHING, usage, model: answered_by ?? model, durationMs: took < LONGEST_RUN_MS ? took : null };
}
