"""Keeps a session with one MCP server open. Many runs call its tools at the same time; it closes when idle."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Literal

from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import CallToolResult, ElicitRequestParams, ElicitResult, Implementation

from errors import AgentStreamError, McpAuthorizationRequired, McpServerFailed
from services.mcp.failures import (
    UNAUTHORIZED,
    SessionLost,
    describe_error,
    is_connection_lost,
    is_unauthorized,
    is_undelivered,
    root_error,
)
from services.mcp.lists import Listing
from services.mcp.messages import Streams, watched
from services.mcp.tool_list import ToolListCache

logger = logging.getLogger(__name__)

CLOSE_S = 8.0  # the SDK waits 2 s for a command to end by itself, and 2 s more after SIGTERM
CLIENT_INFO = Implementation(name="agent-stream", version="1")


class McpSession:
    """A session with one server. A task of its own opens the transport, and closes it at the end.

    Make it in a running loop: it connects at once, and requests of any task wait until it is connected. `idle_s` is
    how long it stays open without requests, None for ever. `tool_list` is the server's list of tools.
    """

    def __init__(
        self,
        label: str,
        open_transport: Callable[[], AbstractAsyncContextManager[Streams]],
        connect_timeout_s: float,
        idle_s: float | None = None,
    ) -> None:
        self.used_at = time.monotonic()
        self.tool_list = ToolListCache(label)
        self._label = label
        self._idle_s = idle_s
        self._idle: asyncio.TimerHandle | None = None
        self._users = 0
        self._client: Client | None = None
        self._settled = asyncio.Event()  # connected, or failed to connect
        self._retired = False
        self._close = asyncio.Event()
        self._connecting = asyncio.timeout(connect_timeout_s)
        self._failure: AgentStreamError = McpServerFailed()
        self._open_transport = open_transport
        self.task = asyncio.create_task(self._run(), name=f"the MCP session of {label}")

    @property
    def usable(self) -> bool:
        """Whether the session accepts new requests."""
        return not self._retired

    @property
    def used(self) -> bool:
        """Whether a request is under way."""
        return self._users > 0

    async def tools(self) -> Listing:
        """Return all tools of the server. Raise as `call` does."""
        async with self._use() as client:
            return await self.tool_list.get(client)

    async def call(self, tool: str, arguments: Mapping[str, Any], progress: ProgressFnT) -> CallToolResult:
        """Call a tool. If the caller is cancelled, the server is notified.

        Raise `McpServerFailed`, `McpAuthorizationRequired`, `SessionLost` or what the SDK raises.
        """
        async with self._use() as client:
            return await client.call_tool(tool, dict(arguments), progress_callback=progress)

    def retire(self) -> None:
        """Accept no more requests, and close when those under way have ended."""
        self._retired = True
        if not self._users:
            self._close.set()

    async def aclose(self) -> None:
        """Close now, even if requests are under way."""
        self._retired = True
        self._close.set()
        await asyncio.wait({self.task}, timeout=CLOSE_S)
        if not self.task.done():
            logger.warning("the MCP session of %s doesn't close: it is cancelled", self._label)
            self.task.cancel()
            await asyncio.wait({self.task}, timeout=1)

    @asynccontextmanager
    async def _use(self) -> AsyncIterator[Client]:
        """Count a request, wait for the connection, and translate the SDK's errors."""
        self._users += 1
        if self._idle is not None:
            self._idle.cancel()
        try:
            await self._settled.wait()
            if self._client is None:
                raise self._failure
            yield self._client
        except MCPError as error:
            if error.code == UNAUTHORIZED:
                self.retire()
                raise self._unauthorized() from error
            if is_connection_lost(error):
                self.retire()
                raise SessionLost(delivered=not is_undelivered(error)) from error
            raise
        finally:
            self._users -= 1
            self._release()

    def _release(self) -> None:
        """After a request: close a retired session that is unused, and start the idle timer of another."""
        self.used_at = time.monotonic()
        if self._users:
            return
        if self._retired:
            self._close.set()
        elif self._idle_s is not None:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self.retire)

    def _unauthorized(self) -> McpAuthorizationRequired:
        return McpAuthorizationRequired(
            f"The MCP server {self._label} asks for authorization that this service doesn't have, or refuses the one "
            "it has. The operator sets it in the server's `headers` in MCP_SERVERS."
        )

    def _on_end(self, is_flooding: bool) -> None:
        """Retire, since no more messages come.

        A server may also end the connection to refuse the newer protocol: while connecting, that is no reason to.
        """
        if self._settled.is_set() or is_flooding:
            self.retire()

    def _on_closing(self) -> None:
        """Stop the timeout while a transport closes: cancelled then, it would leave its process running."""
        if not self._settled.is_set() and not self._connecting.expired():
            self._connecting.reschedule(None)

    async def _run(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                async with self._connecting:
                    self._client = await self._connect(stack)
                self._client.session.validate_tool_result = _accept_result  # type: ignore[method-assign]
                self._settled.set()
                following = asyncio.create_task(self.tool_list.follow_changes(self._client))
                stack.push_async_callback(_cancel, following)
                await self._close.wait()
        except Exception as error:  # noqa: BLE001 - the SDK, a command or the network may raise anything
            what = "was lost" if self._settled.is_set() else "failed"
            logger.warning("the connection to the MCP server %s %s: %s", self._label, what, describe_error(error))
            if is_unauthorized(error):
                self._failure = self._unauthorized()
        finally:
            self._retired = True
            self._client = None
            self._settled.set()
            if self._idle is not None:
                self._idle.cancel()

    async def _connect(self, stack: AsyncExitStack) -> Client:
        """Connect with the newer protocol, and with the older one if the server ends the connection over it.

        Servers made with older versions of the Rust SDK exit at a first message other than `initialize` (go-sdk#1177).
        """
        until = self._connecting.when()
        try:
            return await stack.enter_async_context(self._new_client("auto"))
        except (MCPError, ExceptionGroup) as error:
            root = root_error(error)
            if self._retired or not is_connection_lost(root) or is_undelivered(root):
                raise
        self._connecting.reschedule(until)  # `_on_closing` has stopped it
        return await stack.enter_async_context(self._new_client("legacy"))

    def _new_client(self, mode: Literal["auto", "legacy"]) -> Client:
        return Client(
            watched(self._open_transport(), self._on_end, self._on_closing),
            mode=mode,
            cache=None,
            client_info=CLIENT_INFO,
            message_handler=self.tool_list.on_message,
            elicitation_callback=_decline,
        )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def _decline(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    """Decline a server's question to its user: this service can't ask anyone during a call."""
    return ElicitResult(action="decline")


async def _accept_result(name: str, result: CallToolResult) -> None:
    """Accept any result. The SDK's own check can run for ever on a hostile server's schema."""
