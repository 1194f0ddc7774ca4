"""Filters the messages between the SDK's transport and its session.

The SDK checks a result as a whole: one bad tool costs the list, and one odd block the result. So results are mended
here: a list is reduced to the tools that can be offered, and a call's result to the text that a model reads. Errors
without an id are assigned to their requests, floods are stopped, and the end of the messages is reported, which the
SDK doesn't do.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self

from mcp.shared.message import SessionMessage
from mcp_types import (
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)

from services.mcp.json_rpc import RequestId
from services.mcp.lines import END
from services.mcp.lists import sound_page
from services.mcp.rates import PerSecond
from services.mcp.results import sound_result

PROBE, PROBE_S = "server/discover", 3.0
"""The first request, which asks for the newest version of the protocol, and the longest wait for its answer.

Some older servers never answer it (snow-app#56). The SDK would wait 10 s, of MCP_CONNECT_TIMEOUT_S, which is 15 s.
"""

Streams = tuple[Any, Any]
"""The stream to read messages from, and the stream to write them to."""


def _sound_greeting(result: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce the answer to `initialize` to what this service uses: the version, and whether tools change."""
    capabilities = result.get("capabilities")
    tools = capabilities.get("tools") if isinstance(capabilities, dict) else None
    changes = isinstance(tools, dict) and tools.get("listChanged") is True
    return {
        "protocolVersion": result.get("protocolVersion"),
        "capabilities": {} if tools is None else {"tools": {"listChanged": changes}},
        "serverInfo": {"name": "", "version": ""},
    }


SOUND_RESULTS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "initialize": _sound_greeting,
    "tools/list": sound_page,
    "tools/call": sound_result,
}
"""Makes a result of each method one that the SDK accepts."""

USED_NOTIFICATIONS = frozenset(
    f"notifications/{name}" for name in ("cancelled", "progress", "subscriptions/acknowledged", "tools/list_changed")
)
"""The notifications that mean something here. Others, such as log messages, are dropped unchecked."""
FREQUENT = frozenset({"notifications/progress", "notifications/tools/list_changed"})
MAX_FREQUENT = 500  # a second of these; more are dropped, because the SDK takes a millisecond for each
MAX_UNUSED = 5000  # a second of the others; with more, the session is closed
MAX_SERVER_REQUESTS = 500  # a second; with more, the session is closed: the answers would fill the server's input
SUBSCRIPTION = "subscriptions/listen"  # a request that stays open as long as its session


@asynccontextmanager
async def watched(
    transport: AbstractAsyncContextManager[Streams], on_end: Callable[[bool], None], on_closing: Callable[[], None]
) -> AsyncIterator[Streams]:
    """Open a transport whose messages are filtered.

    `on_end` is called when no more messages come, with whether that is because the server sent too many. `on_closing`
    is called before the transport closes.
    """
    async with transport as (incoming, outgoing):
        open_requests: dict[RequestId, str] = {}
        try:
            yield _Inbox(incoming, open_requests, on_end), _Outbox(outgoing, open_requests)
        finally:
            on_closing()


class _Stream:
    """One of a transport's streams. `open_requests` has the method of each request without an answer, by its id."""

    def __init__(self, stream: Any, open_requests: dict[RequestId, str]) -> None:
        self._stream = stream
        self._open_requests = open_requests

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        suppress: bool | None = await self._stream.__aexit__(kind, error, trace)
        return suppress


class _Outbox(_Stream):
    """The stream of messages to the server."""

    async def send(self, item: SessionMessage) -> None:
        match item.message:
            case JSONRPCRequest(id=request, method=method):
                self._open_requests[request] = method
            case JSONRPCNotification(method="notifications/cancelled", params={"requestId": request}):
                self._open_requests.pop(request, None)
        await self._stream.send(item)


class _Inbox(_Stream):
    """The stream of messages from the server."""

    def __init__(self, stream: Any, open_requests: dict[RequestId, str], on_end: Callable[[bool], None]) -> None:
        super().__init__(stream, open_requests)
        self._on_end = on_end
        self._is_flooding = False
        self._unused = PerSecond(MAX_UNUSED)
        self._frequent = PerSecond(MAX_FREQUENT)
        self._requests = PerSecond(MAX_SERVER_REQUESTS)
        self._server_requests: deque[RequestId] = deque(maxlen=MAX_SERVER_REQUESTS)  # the ids of the server's own
        self._unassigned: list[tuple[ErrorData, set[RequestId]]] = []  # errors, and the requests that they may answer
        self._probe_deadline: float | None = asyncio.get_running_loop().time() + PROBE_S

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            while True:
                if assigned := self._assigned_error():
                    return assigned
                item = await self._next()
                if not isinstance(item, SessionMessage) or self._is_wanted(item.message):
                    return item
        except BaseException:  # the end of the stream is an exception, too
            self._on_end(self._is_flooding)
            raise

    async def _next(self) -> Any:
        """Wait for the next message. If the probe's answer is late, return an error in its place.

        For that error the SDK falls back to the older protocol.
        """
        if self._probe_deadline is None:
            return await self._stream.__anext__()
        try:
            async with asyncio.timeout_at(self._probe_deadline):
                return await self._stream.__anext__()
        except TimeoutError:
            self._probe_deadline = None
        for request, method in self._open_requests.items():
            if method == PROBE:
                error = ErrorData(code=METHOD_NOT_FOUND, message="no answer in time")
                return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=error))
        return await self._stream.__anext__()

    def _is_wanted(self, message: Any) -> bool:
        """Return whether the session gets a message. Results are mended in place."""
        match message:
            case JSONRPCResponse(id=request):
                method = self._open_requests.pop(_key(request), "")
                if make_sound := SOUND_RESULTS.get(method):
                    message.result = make_sound(message.result)
            case JSONRPCError(
                id=None, error=error
            ):  # it answers one of the open requests, but a subscription stays open
                self._keep(error, {each for each, method in self._open_requests.items() if method != SUBSCRIPTION})
                return False
            case JSONRPCError(id=int() | str() as request):
                self._open_requests.pop(_key(request), None)
            case JSONRPCRequest(id=request):
                self._server_requests.append(request)
                self._stop_if(self._requests.exceeded_by(1))
            case JSONRPCNotification(
                method="notifications/cancelled", params={"requestId": int() | str() as request, **more}
            ) if request not in self._server_requests:  # some servers cancel calls of ours in place of an error
                text = f"the server has cancelled the call: {more.get('reason')}"
                self._keep(ErrorData(code=INTERNAL_ERROR, message=text), {_key(request)})
                return False
            case JSONRPCNotification(method=method) if method in FREQUENT:
                return not self._frequent.exceeded_by(1)
            case JSONRPCNotification(method=method) if method not in USED_NOTIFICATIONS:
                self._stop_if(method == END or self._unused.exceeded_by(1))
                return False
        return True

    def _stop_if(self, is_flooding: bool) -> None:
        """End the stream of messages if the server sends too many."""
        self._is_flooding = is_flooding
        if is_flooding:
            raise StopAsyncIteration

    def _keep(self, error: ErrorData, requests: set[RequestId]) -> None:
        """Keep an error that answers one of these requests, at most as many errors as there are open requests."""
        if len(self._unassigned) < len(self._open_requests):
            self._unassigned.append((error, requests))

    def _assigned_error(self) -> SessionMessage | None:
        """Return a kept error once there is only one open request left that it can answer."""
        for index, (error, requests) in enumerate(self._unassigned):
            requests &= self._open_requests.keys()
            if len(requests) > 1:
                continue
            del self._unassigned[index]
            if not requests:
                return self._assigned_error()
            request = requests.pop()
            del self._open_requests[request]
            return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=error))
        return None


def _key(request: RequestId) -> RequestId:
    """Return an id as it was sent. Some servers return a number as text, which the SDK accepts, too."""
    return int(request) if isinstance(request, str) and request.isdecimal() else request
