"""Sends the HTTP requests of one MCP session. A bad answer fails its own request only.

The SDK ends the whole session if one answer fails, such as one whose connection is cut or whose body is too large. So
the failure of a request becomes a JSON-RPC error, which the SDK reports to the caller of that request.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
from mcp_types import INVALID_REQUEST

from services.mcp.events import Events
from services.mcp.failures import CONNECTION_LOST, NOT_DELIVERED, UNAUTHORIZED, UNREADABLE, describe_error
from services.mcp.incoming import MAX_BYTES, Incoming
from services.mcp.json_rpc import RequestId, error_message
from services.outbound.client import GuardedClient
from services.outbound.url_guard import UrlGuard

logger = logging.getLogger(__name__)

CONNECT_S, WRITE_S = 10.0, 30.0
NOTIFICATION_S = 5.0  # for notifications and the session's end, for which the SDK would wait for ever
MAX_SSE_EVENT = 1024 * 1024 - 1024  # bytes of data; the SDK's older transport accepts events of 1 MiB
EVENTS = "text/event-stream"
SEE_OTHER = 303  # the redirect after which a POST has to be a GET
KEPT_HEADERS = ("location", "mcp-session-id")


class McpHttp(GuardedClient):
    """A client for streamable HTTP, which keeps the server's cookies. `guard` is None for an operator's server.

    It has no read timeout: a stream may be silent, and each call has a timeout of its own.
    """

    max_event_bytes = MAX_BYTES

    def __init__(self, guard: UrlGuard | None, headers: Mapping[str, str]) -> None:
        super().__init__(guard, headers={**headers, "Accept-Encoding": "identity"}, keep_cookies=True)
        self.timeout = (CONNECT_S, None, WRITE_S, None)  # connect, read, write, wait for a connection

    async def send(self, request: Any, **options: Any) -> Any:
        """Send an HTTP request, and return an answer that the SDK can read.

        Raise transport errors for a GET or DELETE only.
        """
        request_id = _request_id(request)
        is_patient = request_id is not None or request.method == "GET"
        try:
            async with asyncio.timeout(None if is_patient else NOTIFICATION_S):
                response = await super().send(request, **options)
                if response.is_success and _media_type(response) == EVENTS:
                    return self.with_events(response, request_id)
                body = await _read(response)
        except (httpx2.TransportError, TimeoutError) as failure:
            if request_id is not None:
                is_connecting = isinstance(failure, httpx2.ConnectError | httpx2.ConnectTimeout)
                code = NOT_DELIVERED if is_connecting else CONNECTION_LOST
                return await self.reply(request, error_message(request_id, code, describe_error(failure)))
            if request.method != "POST":
                raise
            logger.info("a notification did not reach an MCP server: %s", describe_error(failure))
            return httpx2.Response(202, request=request)
        if request.method == "POST" and response.next_request is None:
            return await self.answer(response, body, request_id)
        return _redirect(response)

    def with_events(self, response: Any, request_id: RequestId | None) -> Any:
        """Make a response whose events have messages that the SDK can read."""
        events = EventStream(response, Events(request_id, self.max_event_bytes))
        headers = [*_kept_headers(response), ("content-type", f"{EVENTS}; charset=utf-8")]
        return httpx2.Response(response.status_code, headers=headers, stream=events, request=response.request)

    async def answer(self, response: Any, body: Incoming, request_id: RequestId | None) -> Any:
        """Make the response to a POST. `request_id` is None for a notification."""
        if request_id is None or response.status_code == 202:
            return httpx2.Response(202, headers=_kept_headers(response), request=response.request)
        if "mcp-session-id" in response.request.headers and _is_session_unknown(response.status_code, body):
            # The SDK recognizes a session that the server has forgotten by a 404 without a body.
            return httpx2.Response(404, request=response.request)
        message = _message(response, body, request_id)
        await asyncio.sleep(0)  # a turn for other tasks: the SDK parses the message again
        return await self.reply(response.request, message, _kept_headers(response))

    async def reply(self, request: Any, message: bytes, headers: list[tuple[str, str]] | None = None) -> Any:
        """Make a response with this message."""
        headers = [*(headers or []), ("content-type", "application/json")]
        return httpx2.Response(200, headers=headers, content=message, request=request)


class SseHttp(McpHttp):
    """A client for the older transport, SSE. All answers come in one stream of events, none in the answers to POSTs."""

    max_event_bytes = MAX_SSE_EVENT
    _events: "EventStream | None" = None

    def with_events(self, response: Any, request_id: RequestId | None) -> Any:
        """Make a response as for streamable HTTP, and keep its stream for the messages of this client."""
        made = super().with_events(response, request_id)
        self._events = made.stream
        return made

    async def answer(self, response: Any, body: Incoming, request_id: RequestId | None) -> Any:
        """Make the response to a POST: an empty one, unless the server refused the request."""
        if request_id is None or response.is_success:
            return httpx2.Response(202, request=response.request)
        return await self.reply(response.request, _message(response, body, request_id))

    async def reply(self, request: Any, message: bytes, headers: list[tuple[str, str]] | None = None) -> Any:
        """Put the message among the events."""
        if self._events is not None:
            await self._events.add(message)
        return httpx2.Response(202, request=request)


class EventStream(httpx2.AsyncByteStream):
    """The body of a response with events: the server's, mended, and messages of this service in between."""

    def __init__(self, response: Any, events: Events) -> None:
        self._response = response
        self._events = events
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(1)  # None ends the body
        self._reading: asyncio.Task[None] | None = None

    async def add(self, message: bytes) -> None:
        """Put a message between the server's events."""
        await self._queue.put(b"data:" + message + b"\n\n")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the events as they arrive."""
        self._reading = asyncio.create_task(self._read())
        while (item := await self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    async def aclose(self) -> None:
        """Stop reading, and close the response."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._response.aclose()

    async def _read(self) -> None:
        end: Exception | None = None
        try:
            async for piece in self._events.rewrite(self._response.aiter_bytes()):
                await self._queue.put(piece)
        except Exception as failure:  # noqa: BLE001 - `__aiter__` raises it again
            end = failure
        await self._queue.put(end)


def _request_id(request: Any) -> RequestId | None:
    """Return the id of the JSON-RPC request in an HTTP request, None if it carries none."""
    message = json.loads(request.content) if request.method == "POST" else {}
    request_id: RequestId | None = message.get("id") if "method" in message else None
    return request_id


def _media_type(response: Any) -> str:
    media_type: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type


def _kept_headers(response: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.headers.multi_items() if name in KEPT_HEADERS]


async def _read(response: Any) -> Incoming:
    """Read the body, up to its limit."""
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
    """Make a response without a body, with the redirect if there is one.

    The SDK follows a redirect within its origin if the method stays the same. httpx makes a GET of a POST for 301 and
    302, so the POST is put back.
    """
    request, following = response.request, response.next_request
    if following is not None and request.method == "POST" and response.status_code != SEE_OTHER:
        following = httpx2.Request("POST", following.url, headers=request.headers, content=request.content)
        following.extensions = request.extensions
    made = httpx2.Response(response.status_code, headers=_kept_headers(response), request=request)
    made.next_request = following
    return made


def _message(response: Any, body: Incoming, request_id: RequestId) -> bytes:
    """Return the message in a body, or an error that says what the server sent in its place."""
    status = response.status_code
    if status in (401, 403):
        return error_message(request_id, UNAUTHORIZED, f"HTTP status {status}")
    if message := body.read(request_id):
        return message
    if status >= 400:
        return error_message(request_id, INVALID_REQUEST if status < 500 else UNREADABLE, f"HTTP status {status}")
    return body.refusal(request_id, f"it is {_media_type(response)[:100] or 'of no type'}, and not JSON-RPC")


def _is_session_unknown(status: int, body: Incoming) -> bool:
    """Return whether a server doesn't know the session. It says so with 404, as it should, or with 400, as many do."""
    return status == 404 or (status == 400 and body.mentions(b"session"))
