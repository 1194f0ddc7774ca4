/** One side of a comparison: a Conversation of its own, without a session, and the frames of its run. */

import { Conversation, latestAnswer, textOf } from "agent-stream";

import { BASE_URL } from "../api.js";
import { faultyFetch } from "./faults.js";

/**
 * Makes a contestant. `get` returns { runId, answer, isStreaming, status, error, frames }, a new object after each change. With a
 * `runId`, it shows that run.
 */
export function createContestant(runId = null) {
  let frames = [];
  let isAsked = false;
  let state = { runId, answer: "", isStreaming: false, status: "idle", error: null, frames };
  const conversation = new Conversation({
    baseUrl: BASE_URL,
    fetch: faultyFetch,
    onFrame: (frame) => frames.push(frame),
  });
  const unmount = conversation.mount();
  const read = () => {
    const now = conversation.get();
    const { messages, status, error } = now;
    const { isStreaming } = latestAnswer(now);
    const answer = messages.findLast(({ role }) => role === "assistant")?.content ?? "";
    state = { runId: now.runId, answer: textOf(answer), isStreaming, status, error, frames: frames.slice() };
  };
  conversation.subscribe(read);
  if (runId !== null) void conversation.attach(runId);
  return {
    get: () => state,
    subscribe: conversation.subscribe,
    ask(request) {
      frames = [];
      isAsked = true;
      void conversation.stream(request);
    },
    /** Stops a run that was asked for here, and reads no more. */
    leave() {
      if (isAsked) void conversation.stop();
      unmount();
    },
  };
}
