/** Loads the lists of what the service offers. */

import { api } from "./api.js";
import { store } from "./store.js";

/** Each list's path, and what its body means for the store's `catalog`. */
const LISTS = [
  ["/ready", (body) => ({ ready: body })],
  ["/api/agent/models", (body) => ({ models: body })],
  ["/api/agent/tools", (body) => ({ tools: body.tools, defaultTools: body.default })],
  ["/api/agent/mcp-servers", (body) => ({ mcpServers: body.servers })],
];

const RETRY_MS = 3_000; // a service that has just started isn't ready while its model is loaded

/** Loads each list. The page works without one that fails, and tries again. */
export function loadCatalog() {
  for (const list of LISTS) void load(list);
}

async function load(list) {
  const [path, read] = list;
  const body = await api(path).catch(() => null);
  if (body) store.set(({ catalog }) => ({ catalog: { ...catalog, ...read(body) } }));
  else setTimeout(() => void load(list), RETRY_MS);
}
