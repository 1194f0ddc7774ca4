/** The numbers of a run, from its frames: status, tokens and speed. */

import { timeOf } from "./timing.js";

const CHARACTERS_PER_TOKEN = 4; // the usual estimate for English, until the model server has reported the count

const FEWEST_TOKENS = 10; // fewer say nothing about the speed

/** Returns output tokens per second, or null if there are too few tokens to measure. */
export function speedOf({ tokens, writingMs }) {
  return tokens >= FEWEST_TOKENS && writingMs > 0 ? (tokens * 1_000) / writingMs : null;
}

/** Returns the text that the model wrote in an event, or "". */
function writtenIn({ event, data }) {
  if (event === "thinking" || event === "partial_output") return data.content;
  return event === "tool_use_delta" ? data.arguments_delta : "";
}

/**
 * Returns a run's numbers so far. `spans` are those of the frames. Times are in ms and `tokensPerS` in output tokens per second. A number that isn't known
 * is null. `isEstimated` says that a step's tokens were estimated from its characters.
 */
export function measuresOf(frames, spans) {
  const started = frames[0]?.event;
  const complete = frames.at(-1)?.event.event === "complete" ? frames.at(-1).event.data : null;
  const steps = stepsOf(frames);
  const known = steps.filter(({ tokens }) => tokens > 0);
  const writingMs = known.reduce((sum, step) => sum + step.writingMs, 0);
  const tokens = known.reduce((sum, step) => sum + step.tokens, 0);
  return {
    runId: started?.run_id ?? null,
    model: steps.at(-1)?.model ?? started?.data.model ?? null,
    status: statusOf(frames, spans, complete),
    firstTokenMs: complete?.time_to_first_token_ms ?? firstTokenMs(frames),
    durationMs: complete?.duration_ms ?? null,
    tokensPerS: speedOf({ tokens, writingMs }),
    isEstimated: known.some((step) => step.isEstimated),
    usage: complete?.usage ?? null,
    bytes: frames.reduce((sum, frame) => sum + frame.bytes, 0),
    events: frames.length,
    steps,
  };
}

function statusOf(frames, spans, complete) {
  if (frames.length === 0) return "idle";
  const isWaiting = spans.some(({ kind, end }) => kind === "wait" && end === null);
  return complete?.status ?? (isWaiting ? "waiting" : "streaming");
}

function firstTokenMs(frames) {
  const first = frames.find(({ event }) => writtenIn(event) !== "");
  return first ? timeOf(first.event) - timeOf(frames[0].event) : null;
}

/**
 * Returns each step with its model, usage, output tokens, the time in which it wrote them, and its `pieces`: their lengths in
 * characters, and when they were written, in ms since the run began.
 */
function stepsOf(frames) {
  const steps = [];
  const start = frames.length > 0 ? timeOf(frames[0].event) : 0;
  for (const { event } of frames) {
    if (event.event === "step_started") steps.push(newStep(event.data));
    const step = steps.at(-1);
    if (!step) continue;
    const written = writtenIn(event);
    if (written) addPiece(step, timeOf(event) - start, written.length);
    if (event.event === "step_restarted") step.model = event.data.model ?? step.model;
    if (event.event === "step_finished") finish(step, event.data);
  }
  return steps;
}

function newStep({ step, model }) {
  return { step, model, usage: null, finishReason: null, tokens: 0, isEstimated: true, writingMs: 0, pieces: [] };
}

function addPiece(step, at, length) {
  step.pieces.push({ at, length });
  step.tokens += length / CHARACTERS_PER_TOKEN;
  step.writingMs = at - step.pieces[0].at;
}

function finish(step, { usage, finish_reason }) {
  step.usage = usage;
  step.finishReason = finish_reason;
  if (usage.output_tokens === null) return;
  step.tokens = usage.output_tokens;
  step.isEstimated = false;
}

/**
 * Returns the output tokens of a run's steps over time, for a chart: seconds since the run began, and tokens up to then. A
 * step's pieces share its tokens by their length.
 */
export function tokensOverTime(steps) {
  const seconds = [0];
  const tokens = [0];
  for (const step of steps) {
    const length = step.pieces.reduce((sum, piece) => sum + piece.length, 0);
    for (const piece of step.pieces) {
      seconds.push(piece.at / 1000);
      tokens.push(tokens.at(-1) + (step.tokens * piece.length) / length);
    }
  }
  return [seconds, tokens];
}
