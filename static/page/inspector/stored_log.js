/** A run's stored log as frames, like those that came from a stream. */

/** Returns the frames of JSON lines from GET /runs/{run_id}/events?wait=false. They count as received when they were written. */
export function framesIn(lines) {
  return lines
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => frameOf(JSON.parse(line), line.length));
}

/** Returns an event as a frame. `length` is the length of its JSON, which is ASCII. */
export function frameOf(event, length = JSON.stringify(event).length) {
  return { event, bytes: sizeOnWire(event, length), receivedAt: Date.parse(event.timestamp) - performance.timeOrigin };
}

/** Returns the bytes of the frame in which the service sends an event. */
function sizeOnWire({ seq, event }, length) {
  return `id: ${seq}\nevent: ${event}\ndata: `.length + length + 2;
}
