/** One side of a comparison: a Conversation of its own, without a session, and the frames of its run. */

import { Conversation, latestAnswer, textOf } from "agent-stream";

import { BASE_URL } from "../api.js";
import { faultyFetch } from "./faults.js";

/** Makes a contestant. `get` returns { answer, isStreaming, status, error, frames }, a new object after each change. */
export function createContestant() {
  let frames = [];
  let state = { answer: "", isStreaming: false, status: "idle", error: null, frames };
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
    state = { answer: textOf(answer), isStreaming, status, error, frames: frames.slice() };
  };
  conversation.subscribe(read);
  return {
    get: () => state,
    subscribe: conversation.subscribe,
    ask(request) {
      frames = [];
      void conversation.stream(request);
    },
    /** Stops the run and reads no more. */
    leave() {
      void conversation.stop();
      unmount();
    },
  };
}
