/** The timing of a replay. Pure: a player asks which event is due. */

import { timeOf } from "./timing.js";

/** Longer pauses, such as hours until an approval, are shortened to this. */
const LONGEST_PAUSE_MS = 5_000;
export const SPEEDS = [1, 2, 4, Infinity];

/** Returns the time at which each event is shown, in ms after the first. */
export function offsetsOf(events) {
  let offset = 0;
  return events.map((event, place) => {
    const before = events[Math.max(0, place - 1)];
    const pause = timeOf(event) - timeOf(before);
    offset += Math.min(Math.max(0, pause), LONGEST_PAUSE_MS);
    return offset;
  });
}

/** Returns how many events are shown at a time. */
export function positionAt(offsets, ms) {
  let low = 0;
  let high = offsets.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (offsets[middle] <= ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether a record of events ends before its run does. */
export const isCut = (frames) => frames.at(-1).event.event !== "complete";

/** Returns the status that a replay shows at an event after which the run still works. */
export function replayStatus({ frames, position, isPlaying }) {
  if (isPlaying) return "streaming";
  return position === frames.length ? "incomplete" : "paused";
}

/** Returns the time of a position: when its last event is shown. */
export const timeAt = (offsets, position) => offsets[position - 1] ?? 0;
