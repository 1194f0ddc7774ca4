import type { ConversationOptions } from "./options";

/**
 * Uses sessionStorage with the key of this conversation. Returns null if there is no `storageKey`, and if the browser denies
 * access or has no room.
 */
export function storage<T>(
  { storageKey, sessionId }: ConversationOptions,
  access: (kept: Storage, key: string) => T,
): T | null {
  if (storageKey === undefined) return null;
  try {
    return access(sessionStorage, sessionId === undefined ? storageKey : `${storageKey}:${sessionId}`);
  } catch {
    return null;
  }
}
