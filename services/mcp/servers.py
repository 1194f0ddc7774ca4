"""Calls the MCP servers that this service reaches itself: lists their tools, and pools the sessions of all runs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

from mcp import MCPError
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import CallToolResult
from pydantic import AnyUrl, ValidationError

from errors import McpAuthorizationRequired, McpServerFailed, McpServerNotFound
from event_data import RunWarning, WarningCode
from services.mcp.failures import SessionLost, describe_error, hide_urls_in_sdk_logs
from services.mcp.resolution import LocalServer
from services.mcp.session import McpSession
from services.mcp.tools import SEPARATOR, McpTool, as_tools, namespaces, without_repeats
from services.mcp.transports import transport
from services.outbound.url_guard import UrlGuard
from setting_objects import McpServer

logger = logging.getLogger(__name__)

IDLE_S = 300.0  # until the session with a server that a request brought is closed
MAX_NAMED = 10  # tools that a warning names
MAX_BROUGHT = 64  # open sessions with such servers

T = TypeVar("T")


class Offer(NamedTuple):
    """The tools of some servers, with warnings about servers that are unavailable and tools that are left out.

    `missing` has the prefixes of the names that the tools of the unavailable servers would have.
    """

    tools: list[McpTool]
    warnings: list[RunWarning]
    missing: list[str]


class _Offered(NamedTuple):
    """The tools of one server, and the names of those that can't be offered to a model."""

    tools: list[McpTool]
    left_out: list[str]


class McpServers:
    """The operator's servers (`configured`), and the open sessions with them and with others. All runs share it."""

    def __init__(
        self,
        configured: Mapping[str, McpServer],
        guard: UrlGuard,
        *,
        connect_timeout_s: float,
        tool_timeout_s: float,
        idle_s: float = IDLE_S,
    ) -> None:
        self._configured = configured
        self._connect_timeout_s = connect_timeout_s
        self._tool_timeout_s = tool_timeout_s
        self._guard = guard
        self._idle_s = idle_s
        self._sessions: dict[LocalServer, McpSession] = {}
        self._open: set[McpSession] = set()  # retired sessions, too, until they are closed
        self._closed = False
        hide_urls_in_sdk_logs()

    async def tools(self, local: Iterable[LocalServer]) -> Offer:
        """List the tools of these servers, all at the same time. One that fails is reported in a warning."""
        servers = list(local)
        namespace_of = namespaces({server.identity: server.label for server in servers})
        offers = await asyncio.gather(
            *(self._offer(server, namespace_of[server.identity]) for server in servers), return_exceptions=True
        )
        tools: list[McpTool] = []
        warnings, missing = [], []
        for server, offer in zip(servers, offers, strict=True):
            if isinstance(offer, McpServerFailed | McpAuthorizationRequired):
                warnings.append(_warning_of_failure(server, offer))
                missing.append(namespace_of[server.identity] + SEPARATOR)
            elif isinstance(offer, BaseException):
                raise offer
            else:
                tools += offer.tools
                warnings += [_warning_of_left_out(server, offer.left_out)] if offer.left_out else []
        return Offer(without_repeats(tools), warnings, missing)

    async def list_tools(self, name: str) -> list[McpTool]:
        """List the tools of one of the operator's servers.

        Raise `McpServerNotFound`, `McpServerFailed` or `McpAuthorizationRequired`.
        """
        if name not in self._configured:
            raise McpServerNotFound
        return (await self._offer(LocalServer(name, name=name), namespaces({name: name})[name])).tools

    async def aclose(self) -> None:
        """Close all sessions, and end the processes of servers that are commands."""
        self._closed = True
        await asyncio.gather(*(session.aclose() for session in self._open))

    async def _offer(self, server: LocalServer, namespace: str) -> "_Offered":
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                listed = await self._ask(server, McpSession.tools, again=True)
        except (SessionLost, MCPError, ValidationError, RuntimeError, TimeoutError) as error:
            logger.warning("the MCP server %s returned no list of tools: %s", server.label, describe_error(error))
            if session := self._sessions.get(server):
                session.retire()  # the next run tries a new one
            raise McpServerFailed from error
        tools = as_tools(namespace, server.label, listed.tools, self._tool_timeout_s, partial(self._call, server))
        return _Offered(tools, listed.left_out)

    async def _call(
        self, server: LocalServer, tool: str, arguments: Mapping[str, Any], progress: ProgressFnT, again: bool
    ) -> CallToolResult:
        return await self._ask(server, lambda session: session.call(tool, arguments, progress), again=again)

    async def _ask(self, server: LocalServer, request: Callable[[McpSession], Awaitable[T]], *, again: bool) -> T:
        """Send a request. If the session is lost, send it once more in a new one.

        It is sent only once if the server may have received it and `again` is false: it isn't safe to repeat.
        """
        try:
            return await request(self._session(server))
        except SessionLost as lost:
            if lost.delivered and not again:
                raise
        return await request(self._session(server))

    def _session(self, server: LocalServer) -> McpSession:
        """Return the session with a server. A new one is opened if there is none that accepts requests."""
        session = self._sessions.get(server)
        if session is not None and session.usable:
            return session
        if self._closed:
            raise McpServerFailed
        if server.url is not None:
            self._make_room()
        settings = self._configured[server.name] if server.name else McpServer(url=AnyUrl(server.url or ""))
        open_transport = partial(transport, server.label, settings, None if server.name else self._guard)
        idle_s = None if server.name else self._idle_s
        session = McpSession(server.label, open_transport, self._connect_timeout_s, idle_s)
        self._sessions[server] = session
        self._open.add(session)
        session.task.add_done_callback(lambda _: self._forget(server, session))
        return session

    def _make_room(self) -> None:
        """Make room for a session with a server that a request brought: close the one that is unused for longest.

        Raise `McpServerFailed` if all are in use.
        """
        brought = [s for server, s in self._sessions.items() if server.url is not None and s.usable]
        if len(brought) < MAX_BROUGHT:
            return
        unused = [session for session in brought if not session.used]
        if not unused:
            logger.warning("%d sessions with MCP servers of requests are in use, so another is refused", len(brought))
            raise McpServerFailed
        min(unused, key=lambda session: session.used_at).retire()

    def _forget(self, server: LocalServer, session: McpSession) -> None:
        self._open.discard(session)
        if self._sessions.get(server) is session:
            del self._sessions[server]


def _warning_of_failure(server: LocalServer, failure: McpServerFailed | McpAuthorizationRequired) -> RunWarning:
    if isinstance(failure, McpAuthorizationRequired):
        return RunWarning(code=WarningCode.MCP_AUTHORIZATION_REQUIRED, message=failure.message)
    message = f"The MCP server {server.label} could not be reached, or failed: its tools are missing."
    return RunWarning(code=WarningCode.MCP_SERVER_UNAVAILABLE, message=message)


def _warning_of_left_out(server: LocalServer, names: list[str]) -> RunWarning:
    shown = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
    logger.warning("tools of the MCP server %s can't be offered to a model: %s", server.label, shown)
    message = f"The MCP server {server.label} has tools that can't be offered to a model, and are left out: {shown}."
    return RunWarning(code=WarningCode.MCP_TOOL_LEFT_OUT, message=message)
