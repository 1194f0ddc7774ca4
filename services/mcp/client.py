"""The MCP servers that this service calls, of which nothing is loaded before the first of them is used.

The protocol's SDK takes two thirds of a second and 25 MB to import, which most services need not spend.
"""

import asyncio
import gc
from collections.abc import Mapping, Sequence
from importlib import import_module
from operator import methodcaller
from typing import TYPE_CHECKING

from services.mcp.resolution import LocalServer, McpChoice, Resolved
from services.outbound.url_guard import UrlGuard
from services.tooling.base import Tool
from settings import McpServer
from tool_models import McpServerRef

if TYPE_CHECKING:
    from services.mcp.servers import McpServers, Offer


class McpClient:
    """The client of the operator's servers and of those that requests bring. Make it in a running loop."""

    def __init__(
        self,
        configured: Mapping[str, McpServer],
        guard: UrlGuard,
        *,
        connect_timeout_s: float,
        tool_timeout_s: float,
    ) -> None:
        self._choice = McpChoice(configured, guard)
        self._make = methodcaller(  # of the module, once that is loaded
            "McpServers", configured, guard, connect_timeout_s=connect_timeout_s, tool_timeout_s=tool_timeout_s
        )
        self._servers: McpServers | None = None
        self._loading = asyncio.Lock()

    def resolve(self, entries: Sequence[str | McpServerRef], *, hosted: bool) -> Resolved:
        """Who calls each server of a request, as `McpChoice.resolve` says."""
        return self._choice.resolve(entries, hosted=hosted)

    def only_hosted(self, entries: Sequence[str | McpServerRef]) -> list[str]:
        """The entries that only a model's server can call, as `McpChoice.only_hosted` says."""
        return self._choice.only_hosted(entries)

    async def offer(self, local: Sequence[LocalServer]) -> "Offer":
        """The tools of these servers, as `McpServers.tools` gives them."""
        return await (await self._loaded()).tools(local)

    async def list_tools(self, name: str) -> Sequence[Tool]:
        """What one of the operator's servers offers. Raise `McpServerNotFound` or `McpServerFailed`."""
        return await (await self._loaded()).list_tools(name)

    async def aclose(self) -> None:
        """Close all sessions, and end the processes that are servers."""
        async with self._loading:
            if self._servers is not None:
                await self._servers.aclose()

    async def _loaded(self) -> "McpServers":
        """In a thread, so that streams go on meanwhile; where that fails, the next use tries again."""
        async with self._loading:
            if self._servers is None:
                self._servers = self._make(await asyncio.to_thread(import_module, "services.mcp.servers"))
                if gc.get_freeze_count():  # as in a service that has started
                    gc.freeze()  # the SDK's 100,000 objects: the collector would look through them for 60 ms
            return self._servers
