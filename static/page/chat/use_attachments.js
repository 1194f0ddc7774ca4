/** The attachments of a question that is being written. */

import { useCallback, useState } from "preact/hooks";

import { LARGEST_TOGETHER, readAttachment } from "./attachments.js";
import { size } from "./format.js";

const NONE = { attachments: [], problems: [] };

/** `add(files)` reads files and shows what is wrong with those that can't be sent. */
export function useAttachments() {
  const [state, setState] = useState(NONE);
  const add = useCallback(async (files) => {
    const read = await Promise.all(Array.from(files, readAttachment));
    setState((before) => read.reduce(withAttachment, { ...before, problems: [] }));
  }, []);
  const remove = (place) =>
    setState(({ attachments }) => ({ attachments: attachments.toSpliced(place, 1), problems: [] }));
  const clear = () => setState(NONE);
  const restore = (attachments) =>
    setState((before) => (before.attachments.length > 0 ? before : { attachments, problems: [] }));
  return { ...state, add, remove, clear, restore };
}

function withAttachment({ attachments, problems }, read) {
  if (read.problem) return { attachments, problems: [...problems, read.problem] };
  const together = [...attachments, read].reduce((sum, { size: bytes }) => sum + bytes, 0);
  if (together <= LARGEST_TOGETHER) return { attachments: [...attachments, read], problems };
  const problem = `${read.name} doesn't fit. Attachments can total up to ${size(LARGEST_TOGETHER)}.`;
  return { attachments, problems: [...problems, problem] };
}
