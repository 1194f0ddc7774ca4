"""Caches a server's list of tools for a session, and follows the server's reports that it has changed."""

import asyncio
import logging
import time
from typing import Any

from mcp import Client, MCPError
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp_types import ToolListChangedNotification

from services.mcp.failures import describe_error
from services.mcp.lists import Listing, all_tools

logger = logging.getLogger(__name__)

MAX_AGE_S = 30.0  # also if the server reports changes: reading the list shows that the server is still up


class ToolListCache:
    """Holds the list of tools of one server. `follows_changes` is set once the server has agreed to report changes."""

    def __init__(self, label: str) -> None:
        self.follows_changes = asyncio.Event()
        self._label = label
        self._listing: Listing | None = None
        self._read_at = 0.0
        self._changes = 0
        self._reading = asyncio.Lock()

    async def get(self, client: Client) -> Listing:
        """Return the list, read anew if it has changed or is old. Raise what the SDK raises."""
        async with self._reading:
            if self._listing is not None and time.monotonic() < self._read_at + MAX_AGE_S:
                return self._listing
            changes = self._changes
            listing = await _read(client)
            if changes == self._changes:  # a list that changed while it was read isn't cached
                self._listing, self._read_at = listing, time.monotonic()
            return listing

    async def on_message(self, message: Any) -> None:
        """Handle a message of an older server, which reports changes among its other messages."""
        if isinstance(message, ToolListChangedNotification):
            self._drop()

    async def follow_changes(self, client: Client) -> None:
        """Subscribe to the changes of a newer server, which reports them to subscribers."""
        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as changes:
                self.follows_changes.set()
                async for _ in changes:
                    self._drop()
        except ListenNotSupportedError:
            return
        except (MCPError, SubscriptionLost, TimeoutError) as error:
            logger.info("the MCP server %s stopped reporting changes: %s", self._label, describe_error(error))
        self._drop()

    def _drop(self) -> None:
        self._changes += 1
        self._listing = None


async def _read(client: Client) -> Listing:
    try:
        return await all_tools(client)
    except MCPError:
        if client.server_capabilities.tools is None:  # the server declared that it has no tools
            return Listing([], [])
        raise
