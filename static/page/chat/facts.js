/** Facts about runs that their messages don't have: the times of thinking and calls, restarts, warnings, tokens and the time taken. */

import { createContext } from "preact";
import { useContext, useEffect } from "preact/hooks";

import { createStore, store, useExternal } from "../store.js";

/** `toolMs` are the times of calls by their ids. `unread` is the number of events, if only the run's record has been read. */
export const NOTHING = {
  thoughts: [],
  earlierThoughts: 0,
  toolMs: new Map(),
  restarts: [],
  warnings: [],
  usage: null,
  durationMs: null,
  model: null,
  lastPart: null,
  unread: 0,
};

/** The facts about a run that is replayed, up to the event that is shown, or null. */
export const ReplayedFacts = createContext(null);
/** The facts, by run. */
export const facts = createStore({});
/** The run whose events are being read, and how many have been. */
let reading = { runId: null, count: 0 };

export function factsOf(runId) {
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
    case "tool_result":
      return data.duration_ms === undefined ? known : { ...known, toolMs: withTime(known.toolMs, data) };
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

const withTime = (times, { tool_call_id, duration_ms }) => new Map(times).set(tool_call_id, duration_ms);

function thoughtsAfter({ thoughts, lastPart }, at) {
  const last = thoughts.at(-1);
  if (lastPart !== "thinking" || !last) return [...thoughts, { startedAt: at, endedAt: at }];
  return thoughts.with(-1, { ...last, endedAt: at });
}
