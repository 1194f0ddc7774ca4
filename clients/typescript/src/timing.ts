/* Times and pauses. */

import { onWake } from "./environment";

/** The service writes at least this often (HEARTBEAT_S). After 2.5 times as long without a byte, a connection is lost. */
export const HEARTBEAT_S = 4;
export const FIRST_DELAY_MS = 500;
export const LONGEST_DELAY_MS = 10_000;
export const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** After this time without a response, the state has an error, and the hidden tabs close their streams. */
export const PATIENCE_MS = 2_000;
/** Characters of a request that a slow line sends in a millisecond. Images in a request take that much longer. */
export const SLOWEST_UPLOAD = 16;
/** How long a tab polls after it has closed its stream for another tab. */
export const YIELD_MS = 5_000;
/** A state is shown at most this often: rendering costs more than reading. */
export const RENDER_MS = 50;
/** How often a visible page without a run checks for a question of another page in its session. */
export const LOOK_MS = 10_000;
/** How often a visible, or a hidden, page gets the events of a run while it has no stream. */
export const POLL_MS = 1_000;
export const HIDDEN_POLL_MS = 5_000;
/** How long a reloaded page waits for the lock of the page before it. */
export const CLAIM_MS = 2_000;
export const QUESTION_RETRIES = 5;
/** The tries to cancel a run after which the state has an error. They take some three seconds, and others follow. */
export const QUIET_TRIES = 4;

/** The delay after a number of failures: exponential, capped, and random, because all clients lost the service at once. */
export function retryDelay(failures: number): number {
  return Math.min(FIRST_DELAY_MS * 2 ** failures, LONGEST_DELAY_MS) * (0.5 + Math.random() / 2);
}

/** Resolves after that time, or when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}

/** Like `pause`, but returns true earlier if the page wakes up or the function passed to `expose` is called. */
export async function rest(ms: number, signal: AbortSignal, expose?: (wake: () => void) => void): Promise<boolean> {
  const woken = new AbortController();
  const wake = () => woken.abort();
  const forget = onWake(wake);
  signal.addEventListener("abort", wake);
  expose?.(wake);
  if (!signal.aborted) await pause(ms, woken.signal);
  signal.removeEventListener("abort", wake);
  forget();
  return woken.signal.aborted;
}
