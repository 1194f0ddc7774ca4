/** A run's stored log as frames, like those that came from a stream. */

import { eventIn } from "agent-stream";

/** Returns the frames of JSON lines from GET /runs/{run_id}/events?wait=false. They count as received when they were written. */
export function framesIn(lines) {
  return lines
    .split("\n")
    .filter((line) => line !== "")
    .map((json) => frameOf(eventIn(json), json));
}

/**
 * Returns whether the page has stopped reading the run of `frames` before its end: it was stopped, reading it failed, or another run
 * has begun. `latestId` and `status` are those of the conversation.
 */
export function isLeft(frames, latestId, status) {
  const last = frames.at(-1)?.event;
  if (last === undefined || last.event === "complete") return false;
  return last.run_id !== latestId || ["cancelled", "failed"].includes(status);
}

/** Returns an event as a frame. `json` is its JSON, which is ASCII. */
export function frameOf(event, json) {
  const receivedAt = Date.parse(event.timestamp) - performance.timeOrigin;
  return { event, json, bytes: sizeOnWire(event, json.length), receivedAt };
}

/** Returns the bytes of the frame in which the service sends an event. */
function sizeOnWire({ seq, event }, length) {
  return `id: ${seq}\nevent: ${event}\ndata: `.length + length + 2;
}
