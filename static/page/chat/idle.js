/** Does work that can wait, one piece in each idle period of the page. */

const LONGEST_WAIT_MS = 500;

const queue = [];
let isScheduled = false;

const request = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 1));

/** Calls `work` when the page is idle, after the work that was queued before. Returns a function that cancels it. */
export function whenIdle(work) {
  const job = { work };
  queue.push(job);
  schedule();
  return () => {
    job.work = null;
  };
}

function schedule() {
  if (isScheduled || queue.length === 0) return;
  isScheduled = true;
  request(doNext, { timeout: LONGEST_WAIT_MS });
}

function doNext() {
  isScheduled = false;
  const job = queue.shift();
  schedule();
  job.work?.();
}
