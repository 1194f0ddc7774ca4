/* What a browser has and other runtimes don't: a page that can be hidden, asleep or offline. */

const page = (): Document | undefined => globalThis.document;

/** Whether nobody can see the page. Without a page, nothing is hidden. */
export function isHidden(): boolean {
  return page()?.visibilityState === "hidden";
}

/** Calls `listener` when the page is online, visible or restored again. Returns a function that stops this. */
export function onWake(listener: () => void): () => void {
  const document = page();
  if (!document) return () => {};
  const { window } = globalThis;
  const becameVisible = () => !isHidden() && listener();
  const restored = ({ persisted }: PageTransitionEvent) => persisted && listener();
  window.addEventListener("online", listener);
  window.addEventListener("pageshow", restored);
  document.addEventListener("visibilitychange", becameVisible);
  return () => {
    window.removeEventListener("online", listener);
    window.removeEventListener("pageshow", restored);
    document.removeEventListener("visibilitychange", becameVisible);
  };
}

/** A random key. (crypto.randomUUID exists only on HTTPS and localhost.) */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
