/** Records the events of the run that is under way, for the inspector. */

import { store } from "./store.js";

const SHOW_MS = 50;

let runId = null;
let frames = [];
let timer = null;

/**
 * Takes one frame of a run: `{ event, json, bytes, receivedAt }`. The store gets them together, at most every 50 ms. A run
 * that was left and is shown again is read from its start: its events take the place of the earlier ones.
 */
export function takeFrame(frame) {
  if (frame.event.run_id !== runId) {
    runId = frame.event.run_id;
    frames = [];
  }
  const isReadAgain = frames.length > 0 && frame.event.seq <= frames.at(-1).event.seq;
  if (isReadAgain) frames = frames.filter(({ event }) => event.seq < frame.event.seq);
  frames.push(frame);
  timer ??= setTimeout(show, SHOW_MS);
}

/** Forgets the frames, when another conversation is shown. */
export function forgetFrames() {
  runId = null;
  frames = [];
  store.set({ frames });
}

function show() {
  timer = null;
  store.set({ frames: frames.slice() });
}
