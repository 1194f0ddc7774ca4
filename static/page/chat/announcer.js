/** Reads out what happens, for people who hear the page: not each word of an answer, but its beginning and its end. */

import { textOf } from "agent-stream";

import { html } from "../html.js";

const LONGEST = 400;

export function Announcer({ state }) {
  return html`<p class="hidden" role="status">${words(state)}</p>`;
}

function words({ status, pending, budget, messages, error }) {
  switch (status) {
    case "connecting":
      return error ? error.message : "Question sent.";
    case "reconnecting":
      return "Connection lost. Reconnecting.";
    case "streaming":
      return "The agent is answering.";
    case "waiting":
      return `The agent is waiting for you: ${budget ? "its budget is spent" : pending.map(({ name }) => name).join(", ")}.`;
    case "succeeded":
      return `Answer complete. ${textOf(messages.at(-1)?.content ?? "").slice(0, LONGEST)}`;
    case "stopping":
      return "Stopping.";
    case "cancelled":
      return "Stopped.";
    default:
      return ""; // a failure is an alert of its own
  }
}
