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

/** Loads each list. One that fails is left as it is, and the page works without it. */
export async function loadCatalog() {
  await Promise.all(LISTS.map(load));
}

async function load([path, read]) {
  const body = await api(path).catch(() => null);
  if (body) store.set(({ catalog }) => ({ catalog: { ...catalog, ...read(body) } }));
}
