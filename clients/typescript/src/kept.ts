/* What this tab keeps for a conversation with a `storageKey`, so that a reload loses nothing. */

import type { ConversationOptions } from "./options";

/** What sessionStorage has no room for, such as a question with images. It is kept until the page is reloaded. */
const overflow = new Map<string, string>();

/** Returns what is kept under a name, or null. */
export function kept(options: ConversationOptions, name = ""): string | null {
  const key = keyOf(options, name);
  return key === null ? null : (overflow.get(key) ?? access((storage) => storage.getItem(key)));
}

/** Keeps a value under a name, or with null removes it. */
export function keep(options: ConversationOptions, name: string, value: string | null): void {
  const key = keyOf(options, name);
  if (key === null) return;
  overflow.delete(key);
  access((storage) => storage.removeItem(key));
  if (value === null) return;
  access((storage) => storage.setItem(key, value));
  if (access((storage) => storage.getItem(key)) === null) overflow.set(key, value);
}

function keyOf({ storageKey, sessionId }: ConversationOptions, name: string): string | null {
  return storageKey === undefined ? null : [storageKey, sessionId, name].filter((part) => part).join(":");
}

/** Returns null if the browser denies access or has no room. */
function access<T>(use: (storage: Storage) => T): T | null {
  try {
    return use(sessionStorage);
  } catch {
    return null;
  }
}
