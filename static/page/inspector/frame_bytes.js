/** The bytes of an event stream, frame by frame. */

const LINE_FEED = 10;
const decoder = new TextDecoder();

/** Returns a function that takes bytes, however they are cut, and returns the frames that are whole, each with its end. */
export function frameSplitter() {
  let rest = new Uint8Array(0);
  return (bytes) => {
    const all = joined([rest, bytes]);
    const frames = [];
    let start = 0;
    for (let end = all.indexOf(LINE_FEED); end >= 0; end = all.indexOf(LINE_FEED, end + 1)) {
      if (all[end + 1] !== LINE_FEED) continue;
      frames.push(all.subarray(start, end + 2));
      start = end + 2;
      end += 1;
    }
    rest = all.slice(start);
    return frames;
  };
}

/** Returns a frame's number, or null for a comment or a frame without one. */
export function seqOf(frame) {
  const found = /^id: (\d+)\n/.exec(decoder.decode(frame.subarray(0, 24)));
  return found ? Number(found[1]) : null;
}

/** Whether a frame is the last of a run. */
export function isLast(frame) {
  return /^id: \d+\nevent: complete\n/.test(decoder.decode(frame.subarray(0, 48)));
}

/** Returns pieces of bytes as one. */
export function joined(pieces) {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let place = 0;
  for (const piece of pieces) {
    all.set(piece, place);
    place += piece.length;
  }
  return all;
}
