"""Around every request, as pure ASGI: its id, the Host check, the limits of its body, and the last catch."""

import asyncio
import logging
import re
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errors import (
    AgentStreamError,
    BodyTooLarge,
    InternalError,
    InvalidHost,
    InvalidRequest,
    RequestTimeout,
    ServerFull,
)
from json_codec.scan import JsonLimits, JsonScan, JsonTooLarge, slices
from models import new_request_id
from routers.error_answers import answer
from routers.http_protocol import CROWDED

logger = logging.getLogger(__name__)

OWN_ASSETS = "default-src 'self' 'unsafe-inline' data: blob:"
"""For the documentation's pages: what their scripts would load from elsewhere, such as a logo, they go without."""
NOT_UTF8 = "The body is not JSON in UTF-8: send it in that encoding."
SMALL = 64 * 1024  # bytes of a body; what the server may hold of each
MAX_DIGITS = 20  # of a body's length; Python reads no number of thousands
BUSY_S = 5
REQUEST_ID = re.compile(r"[\w.-]{1,64}")


def request_id_of(scope: Scope) -> str:
    """The request's id, in its state from now on: a caller's X-Request-ID if it is a plain word, else a new one."""
    state: dict[str, str] = scope.setdefault("state", {})
    if "request_id" not in state:
        asked = Headers(scope=scope).get("x-request-id", "")
        state["request_id"] = asked if REQUEST_ID.fullmatch(asked) else new_request_id()
    return state["request_id"]


class DirectSend:
    """Leaves the outermost `send` in the request's state, for what the other layers have nothing to add to."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope.setdefault("state", {})["server_send"] = send
        await self._app(scope, receive, send)


class RequestContext:
    """Gives each request an id, and answers what nobody caught."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                if headers.get("content-type", "").startswith("text/html"):
                    headers["Content-Security-Policy"] = OWN_ASSETS
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            logger.exception("request %s failed", request_id)
            if started:
                raise
            await answer(InternalError(), scope)(scope, receive, send_with_id)


class HostCheck:
    """Refuses a Host that isn't served here, against DNS rebinding. `*` allows every one.

    Two Host fields are refused (RFC 9112, section 3.2): a proxy before this service may have looked at the other one.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and "*" not in self._allowed:
            hosts = [re.sub(r":\d+$", "", host).lower() for host in Headers(scope=scope).getlist("host")]
            if len(hosts) != 1 or hosts[0] not in self._allowed:
                await answer(InvalidHost(), scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class RoomCheck:
    """Refuses requests but for health checks while there are more connections than there may be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["state"].get(CROWDED) and scope["path"] != "/health":
            response = answer(ServerFull("The server has as many connections as it may.", retry_after=BUSY_S), scope)
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


class BodyLimits:
    """Reads a request's body whole, and refuses one that is no JSON in UTF-8, too large for a parser, or too slow.

    The body is scanned as it comes, and other requests get a turn after each slice of it. `timeout_s` is what it may
    take to come; `together` is what all bodies may have that are still coming, but for the first 64 KiB of each.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, json: JsonLimits, timeout_s: float, together: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._json = json
        self._timeout_s = timeout_s
        self._together = together
        self._coming = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        try:
            request = await self._whole(scope, receive)
        except AgentStreamError as error:
            response = answer(error, scope)
            if isinstance(error, RequestTimeout):
                response.headers["Connection"] = "close"  # what is missing may never come
            await response(scope, receive, send)
            return
        if request["type"] == "http.disconnect":
            return  # the caller has left before its request was whole
        whole: Message | None = request
        del request  # a stream is open for long, and the body can be large

        async def receive_again() -> Message:
            nonlocal whole
            message, whole = whole, None
            return message or await receive()

        await self._app(scope, receive_again, send)

    async def _whole(self, scope: Scope, receive: Receive) -> Message:
        """The whole body as one message. Raise what is wrong with it as soon as that is known."""
        length = Headers(scope=scope).get("content-length", "").lstrip("0")
        if len(length) > MAX_DIGITS or int(length or 0) > self._max_bytes:
            raise BodyTooLarge
        pieces: list[bytes] = []
        size, scan, decoder = 0, JsonScan(self._json), getincrementaldecoder("utf-8")()
        try:
            async with asyncio.timeout(self._timeout_s):
                while (message := await receive())["type"] != "http.disconnect":
                    pieces.append(piece := message.get("body", b""))
                    size += len(piece)
                    self._count(size, len(piece))
                    last = not message.get("more_body")
                    await _check(piece, scan, decoder, last)
                    if last:
                        return {"type": "http.request", "body": b"".join(pieces), "more_body": False}
                return message
        except TimeoutError:
            raise RequestTimeout from None
        finally:
            self._coming -= max(0, size - SMALL)

    def _count(self, size: int, added: int) -> None:
        """Count what has been added to a body. Raise `BodyTooLarge`, or `ServerFull` where too much is coming."""
        self._coming += min(added, max(0, size - SMALL))
        if size > self._max_bytes:
            raise BodyTooLarge
        if size > SMALL and self._coming > self._together:
            raise ServerFull("The server is receiving as many large requests as it may.", retry_after=BUSY_S)


async def _check(piece: bytes, scan: JsonScan, decoder: IncrementalDecoder, last: bool) -> None:
    """Check the next piece of a body. Raise `InvalidRequest`."""
    try:
        for part in slices(piece):
            if "\0" in decoder.decode(part):  # as in UTF-16 and UTF-32, never in JSON
                raise InvalidRequest(NOT_UTF8)
            scan.feed(part)
            await asyncio.sleep(0)
        decoder.decode(b"", last)
    except UnicodeDecodeError:
        raise InvalidRequest(NOT_UTF8) from None
    except JsonTooLarge as error:
        raise InvalidRequest(str(error)) from None
