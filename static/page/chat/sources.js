/** Names the side that runs a tool, in words. */

const SOURCES = {
  python: "A tool of this service",
  mcp: "MCP server",
  hosted: "Run by the model server",
  client: "Run by a page",
};

export function aboutSource({ source, server }) {
  return server ? `${SOURCES[source]} · ${server}` : SOURCES[source];
}
