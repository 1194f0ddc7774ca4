/** Loads the lists of what the service offers. */

import { api } from "./api.js";
import { store } from "./store.js";

const LISTS = {
  ready: ["/ready", (body) => body],
  models: ["/api/agent/models", (body) => body],
  tools: ["/api/agent/tools", (body) => body.tools],
  mcpServers: ["/api/agent/mcp-servers", (body) => body.servers],
};

/** Loads each list. One that fails is left as it is, and the page works without it. */
export async function loadCatalog() {
  await Promise.all(Object.entries(LISTS).map(load));
}

async function load([name, [path, read]]) {
  const body = await api(path).catch(() => null);
  if (body) store.set(({ catalog }) => ({ catalog: { ...catalog, [name]: read(body) } }));
}
