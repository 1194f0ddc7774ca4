"""One MCP server's session: connected, its tools listed, called by many runs at the same time, closed when idle."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Literal

from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    CallToolResult,
    ElicitRequestParams,
    ElicitResult,
    Implementation,
    ToolListChangedNotification,
)

from errors import AgentStreamError, McpAuthorizationRequired, McpServerFailed
from services.mcp.failures import LOST, NOT_TAKEN, UNAUTHORIZED, first_of, is_unauthorized, told
from services.mcp.lists import Listing, all_tools
from services.mcp.messages import Streams, watched

logger = logging.getLogger(__name__)

LIST_KEPT_S = 30.0  # also where the server tells changes: asking again shows that it is still there
CLOSE_S = 8.0  # the SDK gives a command 2 s to end by itself, and 2 s more after SIGTERM
WE = Implementation(name="agent-stream", version="1")


class SessionLost(Exception):
    """The session ended before a request was answered. `taken` is false where the server surely didn't take it."""

    def __init__(self, *, taken: bool) -> None:
        super().__init__()
        self.taken = taken


class McpSession:
    """A session, open as long as its owner task runs, which opens the transport and closes it.

    Made in a running loop, it connects at once; requests wait for that, and come from any task. `idle_s` is how long
    it stays open without any. `hears_changes` is set once the server tells when its list of tools changes, if it can.
    """

    def __init__(
        self,
        label: str,
        open_transport: Callable[[], AbstractAsyncContextManager[Streams]],
        connect_timeout_s: float,
        idle_s: float | None = None,
    ) -> None:
        self._label = label
        self._idle_s = idle_s
        self._idle: asyncio.TimerHandle | None = None
        self._users = 0
        self.used_at = time.monotonic()
        self._client: Client | None = None
        self._settled = asyncio.Event()  # connected, or not to be
        self._retired = False
        self._close = asyncio.Event()
        self._list: Listing | None = None
        self._listed_at = 0.0
        self._changes = 0
        self.hears_changes = asyncio.Event()
        self._listing = asyncio.Lock()
        self._connecting = asyncio.timeout(connect_timeout_s)
        self._failure: AgentStreamError = McpServerFailed()
        self._open_transport = open_transport
        self.task = asyncio.create_task(self._own(), name=f"the MCP session of {label}")

    @property
    def usable(self) -> bool:
        """Whether requests can still begin."""
        return not self._retired

    @property
    def used(self) -> bool:
        """Whether a request is under way."""
        return self._users > 0

    async def tools(self) -> Listing:
        """All tools of the server. Raise as `call` does."""
        async with self._use() as client, self._listing:
            if self._list is not None and time.monotonic() < self._listed_at + LIST_KEPT_S:
                return self._list
            changes = self._changes
            listing = await self._listed(client)
            if changes == self._changes:
                self._list, self._listed_at = listing, time.monotonic()
            return listing

    async def call(self, tool: str, arguments: Mapping[str, Any], progress: ProgressFnT) -> CallToolResult:
        """Call a tool; cancelled, tell the server.

        Raise `McpServerFailed`, `McpAuthorizationRequired`, `SessionLost` or what the SDK raises.
        """
        async with self._use() as client:
            return await client.call_tool(tool, dict(arguments), progress_callback=progress)

    def retire(self) -> None:
        """Let nothing more begin, and close when what is under way has ended."""
        self._retired = True
        if not self._users:
            self._close.set()

    async def aclose(self) -> None:
        """Close now, whatever is under way."""
        self._retired = True
        self._close.set()
        await asyncio.wait({self.task}, timeout=CLOSE_S)
        if not self.task.done():
            logger.warning("the MCP session of %s doesn't close", self._label)
            self.task.cancel()
            await asyncio.wait({self.task}, timeout=1)

    @asynccontextmanager
    async def _use(self) -> AsyncIterator[Client]:
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
            if _lost(error):
                self.retire()
                raise SessionLost(taken=not _refused(error)) from error
            raise
        finally:
            self._users -= 1
            self._left()

    async def _listed(self, client: Client) -> Listing:
        try:
            return await all_tools(client)
        except MCPError:
            if client.server_capabilities.tools is None:  # it said that it has none
                return Listing([], [])
            raise

    def _unauthorized(self) -> McpAuthorizationRequired:
        return McpAuthorizationRequired(
            f"The MCP server {self._label} asks for an authorization that this service does not have, or refuses the "
            "one it has: the operator gives it in the server's `headers` in MCP_SERVERS."
        )

    def _left(self) -> None:
        self.used_at = time.monotonic()
        if self._users:
            return
        if self._retired:
            self._close.set()
        elif self._idle_s is not None:
            self._idle = asyncio.get_running_loop().call_later(self._idle_s, self.retire)

    def _ended(self, given_up: bool) -> None:
        """Nothing more comes. While connecting, that may be the server's way to refuse the newer protocol."""
        if self._settled.is_set() or given_up:
            self.retire()

    def _closing(self) -> None:
        """A transport that is being closed must not be cancelled: a process would be left."""
        if not self._settled.is_set() and not self._connecting.expired():
            self._connecting.reschedule(None)

    async def _own(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                async with self._connecting:
                    self._client = await self._connected(stack)
                self._client.session.validate_tool_result = _as_it_is  # type: ignore[method-assign]
                self._settled.set()
                stack.push_async_callback(_cancelled, asyncio.create_task(self._hear_changes(self._client)))
                await self._close.wait()
        except Exception as error:  # noqa: BLE001 - whatever the SDK, a command or the network fails with
            how = "was lost" if self._settled.is_set() else "failed"
            logger.warning("the connection to the MCP server %s %s: %s", self._label, how, told(error))
            if is_unauthorized(error):
                self._failure = self._unauthorized()
        finally:
            self._retired = True
            self._client = None
            self._settled.set()
            if self._idle is not None:
                self._idle.cancel()

    async def _connected(self, stack: AsyncExitStack) -> Client:
        """Connect: in the newer way, and in the older one with a server that ended the connection over the newer.

        Servers made with older versions of the Rust SDK exit at a first message that is not `initialize` (go-sdk#1177).
        """
        until = self._connecting.when()
        try:
            return await stack.enter_async_context(self._made("auto"))
        except (MCPError, ExceptionGroup) as error:
            if self._retired or not _lost(first_of(error)) or _refused(first_of(error)):
                raise
        self._connecting.reschedule(until)
        return await stack.enter_async_context(self._made("legacy"))

    def _made(self, mode: Literal["auto", "legacy"]) -> Client:
        return Client(
            watched(self._open_transport(), self._ended, self._closing),
            mode=mode,
            cache=None,
            client_info=WE,
            message_handler=self._hear,
            elicitation_callback=_decline,
        )

    async def _hear(self, message: Any) -> None:
        """Older servers tell changes among their other messages."""
        if isinstance(message, ToolListChangedNotification):
            self._changed()

    async def _hear_changes(self, client: Client) -> None:
        """Newer servers tell changes to who subscribes."""
        tools = client.server_capabilities.tools
        if tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as changes:
                self.hears_changes.set()
                async for _ in changes:
                    self._changed()
        except ListenNotSupportedError:
            return
        except (MCPError, SubscriptionLost, TimeoutError) as error:
            logger.info("the MCP server %s tells no more changes: %s", self._label, told(error))
        self._changed()

    def _changed(self) -> None:
        self._changes += 1
        self._list = None


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


async def _decline(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    """A server may ask the person at the other end; there is nobody whom this service could ask."""
    return ElicitResult(action="decline")


async def _as_it_is(name: str, result: CallToolResult) -> None:
    """In place of the SDK's check against the server's own schema, which a hostile one can make take for ever."""


def _lost(error: BaseException) -> bool:
    """Whether the connection ended; servers use the SDK's code for other things, too."""
    if not isinstance(error, MCPError):
        return False
    ended = error.message == "Connection closed" or error.message.startswith("SSE stream")
    return error.code == LOST or (error.code == CONNECTION_CLOSED and ended) or _refused(error)


def _refused(error: BaseException) -> bool:
    """Whether the server didn't get the request, or doesn't know the session, as after its restart."""
    if not isinstance(error, MCPError):
        return False
    return error.code == NOT_TAKEN or (error.code == INVALID_REQUEST and error.message == "Session terminated")
