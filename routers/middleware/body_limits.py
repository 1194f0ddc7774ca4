"""Limits request bodies: their size, the time they take, the memory of all of them, and the cost of parsing them."""

import asyncio
from codecs import IncrementalDecoder, getincrementaldecoder

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errors import AgentStreamError, BodyTooLarge, InvalidRequest, RequestTimeout, ServerFull
from json_codec.scan import JsonLimits, JsonScan, JsonTooLarge, slices
from routers.error_responses import error_response

NOT_UTF8 = "The body is not JSON in UTF-8. Send it in that encoding."
TOO_MANY = "The server is receiving too many large request bodies. Try again shortly."
SMALL = 64 * 1024  # bytes of each body that don't count: the server's own buffer holds as much of each connection
MAX_DIGITS = 20  # of a Content-Length; `int` refuses thousands of digits with an error of its own
BUSY_S = 5  # when to try again


class BodyLimits:
    """Reads the whole body of a request before the app runs. Refuses one that is not UTF-8, too large or too slow.

    It scans the body as it arrives, and lets other requests run after each slice. `timeout_s` limits how long a body
    may take to arrive. `together` limits the bytes of all bodies that are still arriving, without the first 64 KiB of
    each.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, json: JsonLimits, timeout_s: float, together: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._json = json
        self._timeout_s = timeout_s
        self._together = together
        self._arriving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        try:
            request = await self._whole_request(scope, receive)
        except AgentStreamError as error:
            response = error_response(error, scope)
            if isinstance(error, RequestTimeout):
                response.headers["Connection"] = "close"  # the rest of the body may never arrive
            await response(scope, receive, send)
            return
        if request["type"] == "http.disconnect":
            return  # the client left before its request was complete
        unread: Message | None = request
        del request  # the app may run for hours, and the body can be large: only `unread` holds it

        async def receive_again() -> Message:
            nonlocal unread
            message, unread = unread, None
            return message or await receive()

        await self._app(scope, receive_again, send)

    async def _whole_request(self, scope: Scope, receive: Receive) -> Message:
        """Return the whole body as one message, or the client's disconnect. Raise an error as soon as it is known."""
        length = Headers(scope=scope).get("content-length", "").lstrip("0")
        if len(length) > MAX_DIGITS or int(length or 0) > self._max_bytes:
            raise BodyTooLarge
        pieces: list[bytes] = []
        size = 0
        scan = JsonScan(self._json)
        decoder = getincrementaldecoder("utf-8")()
        try:
            async with asyncio.timeout(self._timeout_s):
                while (message := await receive())["type"] != "http.disconnect":
                    piece = message.get("body", b"")
                    pieces.append(piece)
                    size += len(piece)
                    self._count(size, len(piece))
                    is_last = not message.get("more_body")
                    await _check(piece, scan, decoder, is_last)
                    if is_last:
                        return {"type": "http.request", "body": b"".join(pieces), "more_body": False}
                return message
        except TimeoutError:
            raise RequestTimeout from None
        finally:
            self._arriving -= max(0, size - SMALL)

    def _count(self, size: int, added: int) -> None:
        """Count bytes added to a body of now `size`. Raise `BodyTooLarge`, or `ServerFull` if all bodies are."""
        self._arriving += min(added, max(0, size - SMALL))
        if size > self._max_bytes:
            raise BodyTooLarge
        if size > SMALL and self._arriving > self._together:
            raise ServerFull(TOO_MANY, retry_after=BUSY_S)


async def _check(piece: bytes, scan: JsonScan, decoder: IncrementalDecoder, is_last: bool) -> None:
    """Check the next piece of a body, in slices. Raise `InvalidRequest`."""
    try:
        for part in slices(piece):
            if "\0" in decoder.decode(part):  # every ASCII character has one in UTF-16 and UTF-32; JSON has none
                raise InvalidRequest(NOT_UTF8)
            scan.feed(part)
            await asyncio.sleep(0)
        decoder.decode(b"", is_last)
    except UnicodeDecodeError:
        raise InvalidRequest(NOT_UTF8) from None
    except JsonTooLarge as error:
        raise InvalidRequest(str(error)) from None
