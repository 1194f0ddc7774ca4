/** A scripted answer for the faults, where no answer is under way that they could hit. */

import { ask } from "../conversation.js";

const QUESTION = { input: "Write a long text.", scenario: "long", delay_ms: 30 };
const HIT_SEQ = 8; // the event at which the fault comes, so that there is something before it

/** Calls `fault` now if an answer is under way, or else in the midst of a scripted one. */
export function duringAnAnswer(isUnderWay, fault = () => {}) {
  if (isUnderWay) fault();
  else void ask(QUESTION, ({ seq }) => seq === HIT_SEQ && fault());
}
