"""The messages between this service and an MCP server, between the SDK's transport and its session.

The SDK checks a result as a whole, so one bad tool costs a list, and one odd block a result. Here each result becomes
what it takes: of a list what can be offered, of a call the text that a model reads. The end of a transport's messages,
which the SDK keeps to itself, is reported.
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

from services.mcp.incoming import PerSecond, RequestId
from services.mcp.lines import END
from services.mcp.lists import sound_page
from services.mcp.results import sound_result

PROBE, PROBE_S = "server/discover", 3.0
"""The first request, which asks for the newest version of the protocol, and how long it waits for its answer.

Some older servers never answer it (snow-app#56). The SDK gives it ten seconds, of the fifteen that there are.
"""

Streams = tuple[Any, Any]
"""Where messages are read and where they are written."""


def _sound_greeting(result: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to `initialize` with what this service asks of it: the version, and whether tools change."""
    said = result.get("capabilities")
    tools = said.get("tools") if isinstance(said, dict) else None
    changes = isinstance(tools, dict) and tools.get("listChanged") is True
    return {
        "protocolVersion": result.get("protocolVersion"),
        "capabilities": {} if tools is None else {"tools": {"listChanged": changes}},
        "serverInfo": {"name": "", "version": ""},
    }


SOUND: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "initialize": _sound_greeting,
    "tools/list": sound_page,
    "tools/call": sound_result,
}
"""What makes a result of each method one that the SDK takes."""


HEARD = frozenset(
    f"notifications/{name}" for name in ("cancelled", "progress", "subscriptions/acknowledged", "tools/list_changed")
)
"""What servers tell that means something here. Others, such as their logs, aren't even checked."""
OFTEN = frozenset({"notifications/progress", "notifications/tools/list_changed"})
MAX_OFTEN = 500  # of these within a second; more are dropped, since the SDK takes a millisecond for each
MAX_UNHEARD = 5000  # of those others within a second, after which a server is given up
MAX_ASKED = 500  # requests of a server within a second, after which it is given up: answers would fill its input
LASTING = "subscriptions/listen"  # a request that stays open as long as its session


@asynccontextmanager
async def watched(
    opened: AbstractAsyncContextManager[Streams], ended: Callable[[bool], None], closing: Callable[[], None]
) -> AsyncIterator[Streams]:
    """A transport with sound results. It reports when it is about to be closed, and when nothing more will come.

    `ended` is called with whether that is because the server was given up.
    """
    async with opened as (messages, outbox):
        asked: dict[RequestId, str] = {}
        try:
            yield _Inbox(messages, asked, ended), _Outbox(outbox, asked)
        finally:
            closing()


class _Stream:
    """One of a transport's streams. `asked` has the method of each request that has no answer yet."""

    def __init__(self, stream: Any, asked: dict[RequestId, str]) -> None:
        self._stream = stream
        self._asked = asked

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        ended: bool | None = await self._stream.__aexit__(kind, error, trace)
        return ended


class _Outbox(_Stream):
    """Where messages are written."""

    async def send(self, item: SessionMessage) -> None:
        match item.message:
            case JSONRPCRequest(id=request, method=method):
                self._asked[request] = method
            case JSONRPCNotification(method="notifications/cancelled", params={"requestId": request}):
                self._asked.pop(request, None)
        await self._stream.send(item)


class _Inbox(_Stream):
    """Where messages are read."""

    def __init__(self, stream: Any, asked: dict[RequestId, str], ended: Callable[[bool], None]) -> None:
        super().__init__(stream, asked)
        self._ended = ended
        self._given_up = False
        self._unheard = PerSecond(MAX_UNHEARD)
        self._often = PerSecond(MAX_OFTEN)
        self._asking = PerSecond(MAX_ASKED)
        self._theirs: deque[RequestId] = deque(maxlen=MAX_ASKED)  # the ids of the server's own requests
        self._unclaimed: list[tuple[ErrorData, set[RequestId]]] = []
        self._probe_ends: float | None = asyncio.get_running_loop().time() + PROBE_S

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            while True:
                if claimed := self._claimed():
                    return claimed
                item = await self._next()
                if not isinstance(item, SessionMessage) or self._is_wanted(item.message):
                    return item
        except BaseException:
            self._ended(self._given_up)
            raise

    async def _next(self) -> Any:
        """The next message, or an error in the place of an answer to the probe that doesn't come."""
        if self._probe_ends is None:
            return await self._stream.__anext__()
        try:
            async with asyncio.timeout_at(self._probe_ends):
                return await self._stream.__anext__()
        except TimeoutError:
            self._probe_ends = None
        for request, method in self._asked.items():
            if method == PROBE:
                error = ErrorData(code=METHOD_NOT_FOUND, message="no answer in time")
                return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=error))
        return await self._stream.__anext__()

    def _is_wanted(self, message: Any) -> bool:
        """Whether the session is to get a message; a result is made sound."""
        match message:
            case JSONRPCResponse(id=request):
                method = self._asked.pop(_key(request), "")
                if make_sound := SOUND.get(method):
                    message.result = make_sound(message.result)
            case JSONRPCError(id=None, error=error):
                self._keep(error, {request for request, method in self._asked.items() if method != LASTING})
                return False
            case JSONRPCError(id=int() | str() as request):
                self._asked.pop(_key(request), None)
            case JSONRPCRequest(id=request):
                self._theirs.append(request)
                self._give_up_if(self._asking.passed_by(1))
            case JSONRPCNotification(
                method="notifications/cancelled", params={"requestId": int() | str() as request, **more}
            ) if request not in self._theirs:
                said = f"the server has cancelled the call: {more.get('reason')}"
                self._keep(ErrorData(code=INTERNAL_ERROR, message=said), {_key(request)})
                return False
            case JSONRPCNotification(method=method) if method in OFTEN:
                return not self._often.passed_by(1)
            case JSONRPCNotification(method=method) if method not in HEARD:
                self._give_up_if(method == END or self._unheard.passed_by(1))
                return False
        return True

    def _give_up_if(self, passed: bool) -> None:
        self._given_up = passed
        if passed:
            raise StopAsyncIteration

    def _keep(self, error: ErrorData, requests: set[RequestId]) -> None:
        """Keep an error that answers one of these requests. There can't be more of them than requests."""
        if len(self._unclaimed) < len(self._asked):
            self._unclaimed.append((error, requests))

    def _claimed(self) -> SessionMessage | None:
        """A kept error, with the id of the one request that it could answer and that has no answer yet."""
        for place, (error, requests) in enumerate(self._unclaimed):
            requests &= self._asked.keys()
            if len(requests) > 1:
                continue
            del self._unclaimed[place]
            if not requests:
                return self._claimed()
            request = requests.pop()
            del self._asked[request]
            return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=error))
        return None


def _key(request: RequestId) -> RequestId:
    """An id as it was sent: some servers make text of it, as the SDK knows."""
    return int(request) if isinstance(request, str) and request.isdecimal() else request
