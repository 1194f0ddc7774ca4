/** Questions that take the place of earlier ones. */

import { ask } from "../conversation.js";

/** Asks in place of a question: the same content, or another. The old version stays as a branch. */
export function askAgain({ run_id, content }, changed = content) {
  const place = run_id === "" ? {} : { parent_run_id: run_id, parent_state: "before" };
  return ask({ input: changed, ...place });
}
