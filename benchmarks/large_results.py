"""Tools that give much: a Python tool, and the same as an MCP server on standard input and output."""

from typing import Any, Literal

from mcp.server.mcpserver import MCPServer
from mcp_types import TextContent

from tools import tool

TEXT = 'He said "hi" to the\nworld, é 中 😀.\t'


@tool
def large(kind: Literal["text", "list", "deep"]) -> Any:
    """Give 4 MB.

    Args:
        kind: Of what.
    """
    deep: Any = 1
    for _ in range(60):
        deep = [deep] * 1
    return {"text": TEXT * 100_000, "list": list(range(500_000)), "deep": [deep] * 20_000}[kind]


def main() -> None:
    """Serve it as an MCP server that gives 15 MB."""
    server = MCPServer("large")

    @server.tool(name="large")
    def give(kind: Literal["text", "parts"]) -> list[TextContent]:
        """Give 15 MB."""
        count = 1 if kind == "text" else 10_000
        return [TextContent(type="text", text=TEXT * (300_000 // count))] * count

    server.run("stdio")


if __name__ == "__main__":
    main()
