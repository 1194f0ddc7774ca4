/** Records the latest question as it was sent, for the inspector. A reload of the tab keeps it. */

import { BASE_URL } from "./api.js";
import { faultyFetch } from "./inspector/faults.js";
import { withoutSecrets } from "./inspector/requests.js";
import { SIMULATE, STREAM } from "./paths.js";
import { store } from "./store.js";

const ROUTES = [STREAM, SIMULATE];
const KEY = "agent-stream-request";
const LONGEST = 100_000; // characters: with an image, a question is longer

/** Shows the request that this tab has sent before it was reloaded. */
export function restoreLastRequest() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    if (ROUTES.includes(kept?.path) && typeof kept.runId === "string") store.set({ lastRequest: kept });
  } catch {
    // Nothing readable is kept, or the browser denies access.
  }
}

function show(lastRequest) {
  store.set({ lastRequest });
  try {
    const json = JSON.stringify({ ...lastRequest, headers: withoutSecrets(lastRequest.headers) });
    if (json.length <= LONGEST) sessionStorage.setItem(KEY, json);
    else sessionStorage.removeItem(KEY);
  } catch {
    // The browser denies access: the request is shown until the page is left.
  }
}

/** Passes a request on, and keeps the latest question as it was sent, with the id of its run once that is known. */
export async function recordingFetch(input, init = {}) {
  const path = new URL(input, document.baseURI).href.slice(BASE_URL.length);
  if (init.method !== "POST" || !ROUTES.includes(path)) return faultyFetch(input, init);
  const headers = Object.fromEntries(new Headers(init.headers));
  const sent = { path, headers, body: JSON.parse(init.body), runId: null };
  show(sent);
  const response = await faultyFetch(input, init);
  const runId = response.headers.get("X-Run-ID");
  if (store.get().lastRequest === sent) show({ ...sent, runId });
  return response;
}
