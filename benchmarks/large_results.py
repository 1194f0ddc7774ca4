"""Tools with large results: a Python tool, and an MCP server on standard input and output."""

from typing import Any, Literal

from mcp.server.mcpserver import MCPServer
from mcp_types import TextContent

from tools import tool

TEXT = 'He said "hi" to the\nworld, é 中 😀.\t'


@tool
def large(kind: Literal["text", "list", "deep"]) -> Any:
    """Return 4 MB.

    Args:
        kind: The form of the result.
    """
    deep: Any = 1
    for _ in range(60):
        deep = [deep] * 1
    return {"text": TEXT * 100_000, "list": list(range(500_000)), "deep": [deep] * 20_000}[kind]


def main() -> None:
    """Serve a tool that returns 15 MB as an MCP server."""
    server = MCPServer("large")

    @server.tool(name="large")
    def give(kind: Literal["text", "parts"]) -> list[TextContent]:
        """Return 15 MB."""
        count = 1 if kind == "text" else 10_000
        return [TextContent(type="text", text=TEXT * (300_000 // count))] * count

    server.run("stdio")


if __name__ == "__main__":
    main()
