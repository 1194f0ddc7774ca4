"""MCP servers for tests: a real one as a command, and a scripted one in the test's process; and a pool of them."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from local_tools import a_context
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from service import Server

from services.mcp.resolution import LocalServer, McpChoice
from services.mcp.servers import McpServers, Offer
from services.mcp.tools import McpTool
from services.outbound.url_guard import UrlGuard
from services.tooling.base import ToolContext
from setting_objects import McpServer
from tool_models import McpServerRef

MISSING = re.compile(
    r"The MCP server (\S+) (?:could not be reached, or failed: its tools are missing\.|asks for authorization .*)"
)
TIME = {"command": sys.executable, "args": ["-m", "mcp_server_time", "--local-timezone", "UTC"]}


@asynccontextmanager
async def serving(app: Any, port: int = 0) -> AsyncIterator[str]:
    """Serve an ASGI application at a URL. The end doesn't wait for open responses."""
    server = Server(
        uvicorn.Config(app, port=port, log_level="critical", lifespan="on", timeout_graceful_shutdown=0, ws="none")
    )
    serving = asyncio.create_task(server.serve())
    try:
        await server.listening.wait()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.stopping.set()
        await serving


class Peer:
    """An MCP server in this process. It counts the calls of its tools, and holds them at its gate."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.called = asyncio.Event()
        self.gate = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.lists = 0
        self.server = MCPServer("peer", log_level="ERROR")
        for tool in (self.wait, self.write, self.grow, self.fail, self.shout):
            self.server.add_tool(tool, annotations=ToolAnnotations(read_only_hint=tool == self.wait))

    def app(self, **options: Any) -> Any:
        """Return it as an application for streamable HTTP."""
        return self.server.streamable_http_app(**options)

    async def wait(self) -> str:
        """Wait at the gate. Calling it twice does no harm."""
        return await self._held("wait")

    async def write(self) -> str:
        """Wait at the gate. Calling it twice would do harm."""
        return await self._held("write")

    async def grow(self, name: str, context: Context) -> str:
        """Add another tool to the server."""
        self.server.add_tool(self.fail, name=name)
        await context.notify_tools_changed()
        return "grown"

    async def fail(self) -> str:
        """Fail."""
        raise ToolError("the oven is cold")

    async def shout(self, times: int, context: Context) -> str:
        """Report progress."""
        for i in range(times):
            await context.report_progress(i + 1, times, f"shout {i + 1}")
        return "hoarse"

    async def _held(self, name: str) -> str:
        self.calls.append(name)
        self.called.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return f"{name} done"


# The pool under test

Progress = tuple[str | None, float | None, float | None]


@asynccontextmanager
async def pool_of(
    tool_timeout_s: float = 10, connect_timeout_s: float = 10, idle_s: float = 300, **configured: Mapping[str, Any]
) -> AsyncIterator[McpServers]:
    """A pool of these servers, which may also call URLs of this machine."""
    pool = McpServers(
        {name: McpServer(**fields) for name, fields in configured.items()},
        UrlGuard(allowed=("127.0.0.1",)),
        connect_timeout_s=connect_timeout_s,
        tool_timeout_s=tool_timeout_s,
        idle_s=idle_s,
    )
    try:
        yield pool
    finally:
        await pool.aclose()


def local(pool: McpServers, *asked: str | McpServerRef) -> list[LocalServer]:
    """The servers that a request names."""
    return McpChoice(pool._configured, pool._guard).resolve(asked, hosted=False).local


async def offered(pool: McpServers, *asked: str | McpServerRef) -> dict[str, McpTool]:
    """The tools of servers, all of which are available."""
    offer = await pool.tools(local(pool, *asked))
    assert offer.warnings == []
    return {tool.name: tool for tool in offer.tools}


async def down(pool: McpServers, *asked: str | McpServerRef) -> list[str]:
    """The servers that a run's warnings report as unavailable."""
    return missing(await pool.tools(local(pool, *asked)))


def missing(offer: Offer) -> list[str]:
    found = [MISSING.fullmatch(warning.message) for warning in offer.warnings]
    assert all(found), offer.warnings
    return [each[1] for each in found if each]


def at(url: str) -> McpServerRef:
    return McpServerRef.model_validate({"url": url, "run": "local"})


def context(reports: list[Progress] | None = None) -> ToolContext:
    heard = [] if reports is None else reports
    return a_context(lambda *progress: heard.append(progress))


async def call(tool: McpTool, reports: list[Progress] | None = None, /, **arguments: Any) -> str:
    tool.check(arguments)
    return await tool.call(arguments, context(reports))


def children() -> set[int]:
    """The living child processes of this one."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
