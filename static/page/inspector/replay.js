/** The replay of a run: its state in the store, and the actions on it. The chat shows `messages`, `status` and `facts`. */

import { IDLE, fold } from "agent-stream";

import { NOTHING, factsAfter } from "../chat/facts.js";
import { navigate } from "../route.js";
import { store } from "../store.js";
import { offsetsOf, positionAt, timeAt } from "./playback.js";

const TICK_MS = 33;
const SETTLED_MS = 300; // after the last move, the URL names the event: browsers limit how often it may change

let timer = null;
let naming = null;

/**
 * Opens a run of `frames`, paused at `position`. `question` is the message before its answer, if it is known. `runId` is the run
 * of the service that the URL names, or null for a run file.
 */
export function openReplay({ name, frames, question = null, runId = null, position = frames.length }) {
  stopTimer();
  const offsets = offsetsOf(frames.map(({ event }) => event));
  if (runId === null) navigate({ replay: null }, { replace: true });
  const place = placeOf(store.get());
  store.set({ replay: { name, runId, place, frames, offsets, question, speed: 1, isPlaying: false, position: 0, folded: null } });
  seek(position);
}

/** Shows the live chat again. */
export function closeReplay() {
  leave();
  navigate({ replay: null }, { replace: true });
}

/** Closes the replay when the URL no longer names it, or the user has gone to another run. */
export function followReplay() {
  store.subscribe(() => {
    const { route, replay } = store.get();
    if (replay === null) return;
    const isNamed = replay.runId === null || route.replay !== null;
    if (!isNamed || replay.place !== placeOf(store.get())) leave();
  });
}

const placeOf = ({ route: { session, run }, draft }) => `${session ?? draft} ${run}`;

function leave() {
  stopTimer();
  clearTimeout(naming);
  store.set({ replay: null });
}

function nameInUrl() {
  const { replay } = store.get();
  if (replay?.runId) navigate({ replay: replay.position }, { replace: true });
}

/** Shows the run at an event: the first `position` events. */
export function seek(position) {
  const { replay } = store.get();
  const folded = foldedTo(replay, Math.min(Math.max(position, 0), replay.frames.length));
  const { messages, status, facts } = folded;
  store.set({ replay: { ...replay, position: folded.position, folded, messages, status, facts } });
  clearTimeout(naming);
  naming = setTimeout(nameInUrl, SETTLED_MS);
}

/** Plays from the shown event, or from the start if it is the last. */
export function play() {
  const { replay } = store.get();
  if (replay.position === replay.frames.length) seek(0);
  store.set({ replay: { ...store.get().replay, isPlaying: true } });
  run();
}

export function pause() {
  stopTimer();
  store.set({ replay: { ...store.get().replay, isPlaying: false } });
}

/** Sets the speed: 1, 2, 4 or Infinity. */
export function setSpeed(speed) {
  store.set({ replay: { ...store.get().replay, speed } });
  if (store.get().replay.isPlaying) run();
}

function run() {
  stopTimer();
  const { offsets, position, speed } = store.get().replay;
  const begunAt = performance.now();
  const begunMs = timeAt(offsets, position);
  const step = () => {
    const passed = performance.now() - begunAt;
    seek(Math.max(position, speed === Infinity ? offsets.length : positionAt(offsets, begunMs + passed * speed)));
    if (store.get().replay.position === offsets.length) pause();
    else timer = setTimeout(step, TICK_MS);
  };
  step();
}

function stopTimer() {
  clearTimeout(timer);
}

/** The state of a conversation after the first `position` events. Forward, only the new events are folded. */
function foldedTo({ frames, question, folded }, position) {
  const isForward = folded !== null && folded.position <= position;
  const asked = question ? [question] : [];
  const before = isForward ? folded : { ...IDLE, messages: asked, status: "streaming", position: 0, facts: NOTHING };
  const added = frames.slice(before.position, position);
  const state = fold(before, frames[0].event.run_id, added.map(({ event }) => event));
  return { ...state, position, facts: added.reduce(factsAfter, before.facts) };
}
