/** Names the side that runs a tool, in words. */

const SOURCES = {
  python: "Server tool",
  mcp: "MCP server",
  hosted: "Hosted tool, run by the model server",
  client: "Browser tool",
};

export function aboutSource({ source, server }) {
  const side = Object.hasOwn(SOURCES, source) ? SOURCES[source] : "Unknown tool";
  return server ? `${side} · ${server}` : side;
}
