import { isHidden } from "./environment";

/** The right to hold one stream open. */
export interface Slot {
  release: () => void;
}

/** How many streams the pages of one origin hold open. A browser opens six connections to an address for all its tabs. */
const STREAMS = 2;

const UNLIMITED: Slot = { release: () => {} };

/** The streams that this page holds, by the service's URL: all that can be counted where the browser has no locks. */
const held = new Map<string, number>();

/** The streams to one service that the tabs of a browser share. A visible tab gets one of a hidden tab. */
export class Slots {
  private readonly url: () => string;
  private tabs: BroadcastChannel | null = null;

  constructor(url: () => string) {
    this.url = url;
  }

  /** Returns a slot, or null if none is free. Outside of browsers, connections aren't limited. */
  async take(): Promise<Slot | null> {
    if (!globalThis.document) return UNLIMITED;
    const { locks } = navigator; // only secure contexts have it
    if (!locks) return this.count();
    for (let number = 0; number < STREAMS; number += 1) {
      const slot = await lock(locks, `agent-stream ${this.url()} ${number}`);
      if (slot) return slot;
    }
    return null;
  }

  /** Asks the hidden tabs for a slot, if this tab is visible. */
  ask(): void {
    if (!isHidden()) this.tabs?.postMessage(this.url());
  }

  /** Calls `giveWay` when this tab is hidden and a visible one needs a slot. Returns a function that stops this. */
  share(giveWay: () => void): () => void {
    if (!globalThis.document || !("BroadcastChannel" in globalThis)) return () => {};
    const tabs = new BroadcastChannel("agent-stream");
    tabs.onmessage = ({ data }) => data === this.url() && isHidden() && giveWay();
    this.tabs = tabs;
    return () => {
      this.tabs = null;
      tabs.close();
    };
  }

  private count(): Slot | null {
    const url = this.url();
    const taken = held.get(url) ?? 0;
    if (taken >= STREAMS) return null;
    held.set(url, taken + 1);
    return { release: () => held.set(url, (held.get(url) ?? 1) - 1) };
  }
}

/** Takes a lock if it is free. The browser releases it when the page is gone. */
function lock(locks: LockManager, name: string): Promise<Slot | null> {
  return new Promise((resolve) => {
    const request = locks.request(name, { ifAvailable: true }, (free) => {
      if (!free) return resolve(null);
      return new Promise<void>((release) => resolve({ release }));
    });
    request.catch(() => resolve(null)); // the page is being left
  });
}
