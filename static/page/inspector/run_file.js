/**
 * Reads run files. A run file has the events of one run, in one of the two forms in which the service sends them:
 *
 * .jsonl  one event a line, as JSON: GET /api/agent/runs/{run_id}/events?wait=false
 * .sse    the stream's frames:       GET /api/agent/runs/{run_id}/events
 *
 * The form is recognised by the content. A file can be cut off anywhere, but begins with the first event. What a cut has left
 * of a line is ignored.
 */

import { eventIn } from "agent-stream";

import { wrongKey } from "./event_shapes.js";

const MAX_FILE_MB = 32;
export const MAX_EVENTS = 100_000;
const MAX_DEPTH = 100; // of the JSON; the service accepts 64

/** Explains why a file can't be opened. */
export class RunFileError extends Error {}

/** Returns the events of a file, each with its JSON. Rejects with a RunFileError. */
export async function openRunFile(file) {
  if (file.size > MAX_FILE_MB * 1024 * 1024) throw new RunFileError(`The file is larger than ${MAX_FILE_MB} MB.`);
  return recordsIn(new Uint8Array(await file.arrayBuffer()));
}

/** Returns the events in a file's bytes, each with its JSON. Throws a RunFileError. */
export function recordsIn(bytes) {
  const lines = textIn(bytes).split(/\r?\n/);
  const isJson = lines.find((line) => line.trim() !== "")?.startsWith("{");
  const texts = withoutRest(isJson ? jsonLines(lines) : dataLines(lines), lines.length);
  if (texts.length === 0) throw new RunFileError("The file contains no run events.");
  if (texts.length > MAX_EVENTS) throw new RunFileError(`The file has more than ${MAX_EVENTS} events.`);
  const events = texts.map(({ json, line }) => checked(json, line));
  checkOrder(events, texts);
  return events.map((event, place) => ({ event, json: texts[place].json.trim() }));
}

function textIn(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true }); // a cut can divide a character
  } catch {
    throw new RunFileError("The file isn't UTF-8 text.");
  }
}

const jsonLines = (lines) =>
  lines.map((json, place) => ({ json, line: place + 1 })).filter(({ json }) => json.trim() !== "");

/** The data of the frames. The service writes one data line for each event; refused and `draining` frames have no id. */
function dataLines(lines) {
  const texts = [];
  let hasId = false;
  lines.forEach((line, place) => {
    if (line === "") hasId = false;
    else if (line.startsWith("id:")) hasId = true;
    else if (hasId && line.startsWith("data:")) texts.push({ json: line.slice(5), line: place + 1 });
  });
  return texts;
}

/** Leaves out the file's last line if it has no end and isn't JSON: the file was cut off there. */
function withoutRest(texts, lastLine) {
  const last = texts.at(-1);
  return last?.line === lastLine && parsed(last.json) === undefined ? texts.slice(0, -1) : texts;
}

/** Returns the value of a JSON text, or undefined if it isn't JSON. */
function parsed(json) {
  try {
    return eventIn(json);
  } catch {
    return undefined;
  }
}

function checked(json, line) {
  const event = parsed(json);
  if (event === undefined) throw new RunFileError(`Line ${line} isn't valid JSON.`);
  if (isDeep(event)) throw new RunFileError(`Line ${line} is nested more than ${MAX_DEPTH} levels deep.`);
  const wrong = wrongKey(event);
  if (wrong) throw new RunFileError(`Line ${line} isn't a run event: "${wrong}" is missing or invalid.`);
  return event;
}

/** Whether a value is nested too deeply. It is searched level by level, because a recursion could be too deep itself. */
function isDeep(value) {
  let level = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH) return true;
    level = level.flatMap((each) => (typeof each === "object" && each !== null ? Object.values(each) : []));
  }
  return false;
}

function checkOrder(events, texts) {
  const [{ run_id: runId }] = events;
  events.forEach((event, place) => {
    const where = `Line ${texts[place].line}`;
    if (event.run_id !== runId) throw new RunFileError(`${where} belongs to another run. A file holds one run.`);
    if (event.seq !== place + 1) throw new RunFileError(`${where} has event ${event.seq}, expected ${place + 1}.`);
    if (event.event === "complete" && place < events.length - 1) {
      throw new RunFileError(`${where} is "complete", but more events follow it.`);
    }
  });
}
