/** The replay of a run: its state in the store, and the actions on it. The chat shows `messages`, `status` and `facts`. */

import { IDLE, fold } from "agent-stream";

import { NOTHING, factsAfter } from "../chat/facts.js";
import { store } from "../store.js";
import { offsetsOf, positionAt, timeAt } from "./playback.js";

const TICK_MS = 33;

let timer = null;

/** Opens a run of `frames`, paused at its end. `question` is the message before its answer, if it is known. */
export function openReplay({ name, frames, question = null }) {
  stopTimer();
  const offsets = offsetsOf(frames.map(({ event }) => event));
  store.set({ replay: { name, frames, offsets, question, speed: 1, isPlaying: false, position: 0, folded: null } });
  seek(frames.length);
}

/** Shows the live chat again. */
export function closeReplay() {
  stopTimer();
  store.set({ replay: null });
}

/** Shows the run at an event: the first `position` events. */
export function seek(position) {
  const { replay } = store.get();
  const folded = foldedTo(replay, Math.min(Math.max(position, 0), replay.frames.length));
  const { messages, status, facts } = folded;
  store.set({ replay: { ...replay, position: folded.position, folded, messages, status, facts } });
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
