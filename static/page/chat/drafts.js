/** The text that a person has begun to write, for each session of this tab. A reload doesn't lose it. */

const KEY = "agent-stream-draft:";

export function draftOf(session) {
  return access((kept) => kept.getItem(KEY + session)) ?? "";
}

export function keepDraft(session, text) {
  access((kept) => (text === "" ? kept.removeItem(KEY + session) : kept.setItem(KEY + session, text)));
}

/** Returns null if the browser denies access or has no room. */
function access(use) {
  try {
    return use(sessionStorage);
  } catch {
    return null;
  }
}
