"""The HTTP client of one MCP session: patient with streams, and one bad answer costs its own request only.

The SDK ends a whole session for what goes wrong with one answer: a connection that is cut, a body that is too large.
So a request's failure becomes a JSON-RPC error, which the SDK reports to the caller of that request.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
from mcp_types import INVALID_REQUEST

from services.mcp.events import Events
from services.mcp.failures import LOST, NOT_TAKEN, UNAUTHORIZED, UNREADABLE, told
from services.mcp.incoming import MAX_BYTES, Incoming, RequestId, error
from services.outbound.client import GuardedClient
from services.outbound.url_guard import UrlGuard

logger = logging.getLogger(__name__)

CONNECT_S, WRITE_S = 10.0, 30.0
NOTICE_S = 5.0  # for what has no result, and for which the SDK waits without a limit
MAX_SSE_EVENT = 1024 * 1024 - 1024  # bytes; the SDK's older transport takes no more, with the rest of an event
EVENTS = "text/event-stream"
SEE_OTHER = 303  # the redirect after which a POST has to be a GET
KEPT = ("location", "mcp-session-id")


class McpHttp(GuardedClient):
    """A client for streamable HTTP; `guard=None` where the operator named the server. It keeps the server's cookies.

    It waits as long as a stream is silent: calls have their own time.
    """

    max_event_bytes = MAX_BYTES

    def __init__(self, guard: UrlGuard | None, headers: Mapping[str, str]) -> None:
        super().__init__(guard, headers={**headers, "Accept-Encoding": "identity"}, keep_cookies=True)
        self.timeout = (CONNECT_S, None, WRITE_S, None)  # connect, read, write, wait for a connection

    async def send(self, request: Any, **options: Any) -> Any:
        """Send it, and give an answer that the SDK can read. Raise what fails only where nothing is asked or told."""
        asked = _asked(request)
        waits = asked is not None or request.method == "GET"
        try:
            async with asyncio.timeout(None if waits else NOTICE_S):
                response = await super().send(request, **options)
                if response.is_success and _kind(response) == EVENTS:
                    return self.with_events(response, asked)
                body = await _read(response)
        except (httpx2.TransportError, TimeoutError) as failure:
            if asked is not None:
                before = isinstance(failure, httpx2.ConnectError | httpx2.ConnectTimeout)
                return await self.reply(request, error(asked, NOT_TAKEN if before else LOST, told(failure)))
            if request.method != "POST":
                raise
            logger.info("a notification did not reach an MCP server: %s", told(failure))
            return httpx2.Response(202, request=request)
        if request.method == "POST" and response.next_request is None:
            return await self.answer(response, body, asked)
        return _redirect(response)

    def with_events(self, response: Any, asked: RequestId | None) -> Any:
        """A stream of events with messages that the SDK reads."""
        events = EventStream(response, Events(asked, self.max_event_bytes))
        headers = [*_kept(response), ("content-type", f"{EVENTS}; charset=utf-8")]
        return httpx2.Response(response.status_code, headers=headers, stream=events, request=response.request)

    async def answer(self, response: Any, body: Incoming, asked: RequestId | None) -> Any:
        """What the SDK is to make of an answer."""
        if asked is None or response.status_code == 202:
            return httpx2.Response(202, headers=_kept(response), request=response.request)
        if "mcp-session-id" in response.request.headers and _forgot(response.status_code, body):
            return httpx2.Response(404, request=response.request)  # without a body, by which the SDK knows
        message = _message(response, body, asked)
        await asyncio.sleep(0)  # others first: the SDK parses it once more
        return await self.reply(response.request, message, _kept(response))

    async def reply(self, request: Any, message: bytes, headers: list[tuple[str, str]] | None = None) -> Any:
        """An answer with this message."""
        headers = [*(headers or []), ("content-type", "application/json")]
        return httpx2.Response(200, headers=headers, content=message, request=request)


class SseHttp(McpHttp):
    """A client for the older transport, SSE, where answers come in the one stream of events, not in those of POSTs."""

    max_event_bytes = MAX_SSE_EVENT
    _events: "EventStream | None" = None

    def with_events(self, response: Any, asked: RequestId | None) -> Any:
        """As in streamable HTTP."""
        made = super().with_events(response, asked)
        self._events = made.stream
        return made

    async def answer(self, response: Any, body: Incoming, asked: RequestId | None) -> Any:
        """Nothing, unless the server refused the request."""
        if asked is None or response.is_success:
            return httpx2.Response(202, request=response.request)
        return await self.reply(response.request, _message(response, body, asked))

    async def reply(self, request: Any, message: bytes, headers: list[tuple[str, str]] | None = None) -> Any:
        """The message among the events."""
        if self._events is not None:
            await self._events.add(message)
        return httpx2.Response(202, request=request)


class EventStream(httpx2.AsyncByteStream):
    """The body of a stream of events, made sound, and with messages of our own between the server's."""

    def __init__(self, response: Any, events: Events) -> None:
        self._response = response
        self._events = events
        self._made: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(1)
        self._reading: asyncio.Task[None] | None = None

    async def add(self, message: bytes) -> None:
        """Add a message."""
        await self._made.put(b"data:" + message + b"\n\n")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the events as they come."""
        self._reading = asyncio.create_task(self._read())
        while (made := await self._made.get()) is not None:
            if isinstance(made, Exception):
                raise made
            yield made

    async def aclose(self) -> None:
        """Read no more, and close the response."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._response.aclose()

    async def _read(self) -> None:
        end: Exception | None = None
        try:
            async for piece in self._events.of(self._response.aiter_bytes()):
                await self._made.put(piece)
        except Exception as failure:  # noqa: BLE001 - raised where the events are read
            end = failure
        await self._made.put(end)


def _asked(request: Any) -> RequestId | None:
    """The id of the JSON-RPC request that an HTTP request carries."""
    message = json.loads(request.content) if request.method == "POST" else {}
    asked: RequestId | None = message.get("id") if "method" in message else None
    return asked


def _kind(response: Any) -> str:
    kind: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind


def _kept(response: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.headers.multi_items() if name in KEPT]


async def _read(response: Any) -> Incoming:
    """The body, until it is too large."""
    body = Incoming()
    try:
        async for piece in response.aiter_bytes():
            body.add(piece)
            if body.too_large:
                break
    finally:
        await response.aclose()
    return body


def _redirect(response: Any) -> Any:
    """A redirect, or what isn't answered. The SDK follows one within its origin if the method stays: a POST does."""
    request, following = response.request, response.next_request
    if following is not None and request.method == "POST" and response.status_code != SEE_OTHER:
        following = httpx2.Request("POST", following.url, headers=request.headers, content=request.content)
        following.extensions = request.extensions
    made = httpx2.Response(response.status_code, headers=_kept(response), request=request)
    made.next_request = following
    return made


def _message(response: Any, body: Incoming, asked: RequestId) -> bytes:
    """The message in a body; in the place of what is none, an error that says what it is."""
    status = response.status_code
    if status in (401, 403):
        return error(asked, UNAUTHORIZED, f"HTTP status {status}")
    if message := body.read(asked):
        return message
    if status >= 400:
        return error(asked, INVALID_REQUEST if status < 500 else UNREADABLE, f"HTTP status {status}")
    return body.refusal(asked, f"it is {_kind(response)[:100] or 'of no kind'}, and not JSON-RPC")


def _forgot(status: int, body: Incoming) -> bool:
    """Whether a server says that it doesn't know the session: with 404, as it should, or with 400, as many do."""
    return status == 404 or (status == 400 and body.mentions(b"session"))
