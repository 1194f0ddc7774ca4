"""Calls MCP servers; imports the protocol's SDK when the first server is used.

The SDK takes 0.7 s and 25 MB to import, which services without MCP servers don't have to spend.
"""

import asyncio
import gc
from collections.abc import Mapping, Sequence
from importlib import import_module
from operator import methodcaller
from typing import TYPE_CHECKING

from services.mcp.resolution import LocalServer
from services.outbound.url_guard import UrlGuard
from services.tooling.base import Tool
from setting_objects import McpServer

if TYPE_CHECKING:
    from services.mcp.servers import McpServers, Offer


class McpClient:
    """The client for the operator's servers (`configured`) and for those that requests bring, which `guard` checks."""

    def __init__(
        self,
        configured: Mapping[str, McpServer],
        guard: UrlGuard,
        *,
        connect_timeout_s: float,
        tool_timeout_s: float,
    ) -> None:
        self._new_servers = methodcaller(  # called with the module, once that is imported
            "McpServers", configured, guard, connect_timeout_s=connect_timeout_s, tool_timeout_s=tool_timeout_s
        )
        self._servers: McpServers | None = None
        self._loading = asyncio.Lock()

    async def offer(self, local: Sequence[LocalServer]) -> "Offer":
        """List the tools of these servers. See `McpServers.tools`."""
        return await (await self._loaded()).tools(local)

    async def list_tools(self, name: str) -> Sequence[Tool]:
        """List the tools of one of the operator's servers.

        Raise `McpServerNotFound`, `McpServerFailed` or `McpAuthorizationRequired`.
        """
        return await (await self._loaded()).list_tools(name)

    async def aclose(self) -> None:
        """Close all sessions, and end the processes of servers that are commands."""
        async with self._loading:
            if self._servers is not None:
                await self._servers.aclose()

    async def _loaded(self) -> "McpServers":
        """Import the SDK at the first use, in a thread so that streams continue. A failed import is tried again."""
        async with self._loading:
            if self._servers is None:
                self._servers = self._new_servers(await asyncio.to_thread(import_module, "services.mcp.servers"))
                if gc.get_freeze_count():  # the service froze its own objects at its start
                    gc.freeze()  # the SDK's 100,000 objects too: a collection would visit them for 60 ms
            return self._servers
