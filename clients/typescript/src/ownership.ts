/* Which page makes the calls of a run's tools. A duplicated tab has a copy of all that its original keeps, so both take the run
   for their own. A lock of the browser decides. */

import type { FollowedRun } from "./followed_run";
import { CLAIM_MS } from "./timing";

/** The claims of this page, by the names of their locks. */
const claims = new Map<string, Claim>();

/** A claim of this page to a run, which its components share. */
class Claim {
  /** Whether this page has the run. Resolves with false if another page keeps it. */
  readonly isGranted: Promise<boolean>;
  /** The run of each component, with what is called when another page has it. */
  readonly holders: Map<FollowedRun, () => void> = new Map();
  private readonly waiting = new AbortController();
  private free = (): void => {};

  constructor(locks: LockManager, name: string, takesOver: boolean) {
    const options = takesOver ? { steal: true } : { signal: this.waiting.signal };
    this.isGranted = new Promise((resolve) => {
      const hold = () => {
        resolve(true);
        return this.untilReleased();
      };
      locks.request(name, options, hold).catch(() => {
        resolve(false);
        if (claims.get(name) === this) claims.delete(name);
        for (const lose of this.holders.values()) lose();
      });
    });
    setTimeout(() => this.waiting.abort(), CLAIM_MS);
  }

  release(): void {
    this.waiting.abort();
    this.free();
  }

  private untilReleased(): Promise<void> {
    return new Promise((free) => {
      this.free = free;
      if (this.holders.size === 0) free(); // it was released before it was granted
    });
  }
}

/** The claim of a conversation to the run that it follows. */
export class Ownership {
  private readonly url: () => string;
  private readonly lose: (run: FollowedRun) => void;
  private run: FollowedRun | null = null;
  private name = "";

  /** `lose` is called with a run whose calls another page makes. */
  constructor(url: () => string, lose: (run: FollowedRun) => void) {
    this.url = url;
    this.lose = lose;
  }

  /**
   * Claims a run, in place of the last one. The browser releases the lock of a page that is gone, so a page that is reloaded has
   * its run again. Outside of browsers, and where there are no locks, no other page is expected.
   */
  claim(run: FollowedRun): void {
    if (this.run === run) return;
    this.release();
    const locks = globalThis.document && navigator.locks; // only secure contexts have it
    if (!locks || !run.isOurs || !run.id) return;
    this.run = run;
    this.name = `agent-stream run ${this.url()} ${run.id}`;
    const claim = claims.get(this.name) ?? new Claim(locks, this.name, run.takesOver);
    claims.set(this.name, claim);
    claim.holders.set(run, () => this.lose(run));
    run.isGranted = claim.isGranted;
    run.takesOver = false;
  }

  /** Leaves the run to other pages, unless another component of this one follows it. */
  release(): void {
    const { run, name } = this;
    this.run = null;
    const claim = claims.get(name);
    if (!run || !claim?.holders.delete(run) || claim.holders.size > 0) return;
    claims.delete(name);
    claim.release();
  }
}
