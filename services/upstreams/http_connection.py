"""An HTTP/1.1 connection to an upstream, parsed by httptools as bytes arrive, and the responses on it.

A general client's layers cost more than the tokens that pass through them. Here the event loop's read of the socket is
parsed in place, and its body bytes wake the reader directly. HEAD, upgrades and request bodies in pieces are not
supported.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import httptools
import httpx

MAX_UNREAD = 128 * 1024  # received bytes that wait to be read, beyond which the socket is not read
MAX_HEAD = 64 * 1024  # bytes of a response's headers
MAX_HEADERS = 256
HEAD_TOO_LARGE = "The response's headers, or its trailers, are too large."
FRAMING = frozenset((b"content-length", b"transfer-encoding"))


class ResponseStream(httpx.AsyncByteStream):
    """A response as it arrives. It has its connection to itself until `aclose`.

    `framed` is set if the headers determine where the body ends; otherwise the end of the connection does. `over` is
    set once the body is complete, or has failed.
    """

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []  # body bytes that wait to be read
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.put = self._pieces.append  # bound once, as it is called for every piece; `_pieces` is never rebound
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.framed = False
        self.head_size = 0
        self.unread = 0
        self.over = False

    @property
    def has_body(self) -> bool:
        """Whether a piece of the body waits to be read."""
        return bool(self._pieces)

    async def head(self) -> None:
        """Wait for the status and the headers. Raise `httpx.TransportError`."""
        while self.status is None:
            await self._arrival()

    async def read(self) -> bytes:
        """Wait for the next bytes of the body, and return all that have arrived. Empty at the end.

        Raise `httpx.TransportError` if the body breaks off, and `httpx.StreamClosed` after `aclose`.
        """
        pieces = self._pieces
        while not pieces:
            if self.over and self._error is None:
                return b""
            await self._arrival()
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self.unread > MAX_UNREAD:
            self._connection.resume_reading()
        self.unread = 0
        return data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body, as `read` returns it."""
        while data := await self.read():
            yield data

    async def aclose(self) -> None:
        """Release the connection, which is closed unless the whole response has arrived. Idempotent."""
        if not isinstance(self._error, httpx.StreamClosed):
            self._error = httpx.StreamClosed()
            self._pieces.clear()
            self._connection.release()
            self.wake()

    def end(self, error: httpx.TransportError | None = None) -> None:
        """End the body, with an error if it is incomplete. Only the first call counts."""
        if not self.over:
            self.over, self._error = True, self._error or error
        self.wake()

    def wake(self) -> None:
        """Wake the reader."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _arrival(self) -> asyncio.Future[None]:
        """Return a future that the next event resolves. A coroutine here would cost a frame more for each read."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        return self._waiter


class Connection(asyncio.Protocol):
    """One connection, for one exchange at a time.

    `on_release` is called when an exchange has ended, with whether the connection can be reused; if not, it is closed.
    `on_lost` is called when the connection is lost. `silent` is set until a byte of the response has arrived.
    """

    def __init__(
        self, on_release: Callable[["Connection", bool], None], on_lost: Callable[["Connection"], None]
    ) -> None:
        self._on_release = on_release
        self._on_lost = on_lost
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)  # None once it is lost
        self._response = ResponseStream(self)
        self._response.over = True
        self._reusable = False
        self.silent = True

    async def ask(self, message: list[bytes]) -> ResponseStream:
        """Send a request, and return its response once the head has arrived.

        If it raises, the caller has to close the connection. `httpx.TransportError` is a failure of the upstream; if
        the connection is `silent`, the upstream has sent nothing.
        """
        if self._parser is None:
            raise httpx.RemoteProtocolError("The connection was closed before a request was sent.")
        response = self._response = ResponseStream(self)
        self.silent = True
        self._transport.writelines(message)
        await response.head()
        return response

    def resume_reading(self) -> None:
        """Read the socket again."""
        self._transport.resume_reading()

    def release(self) -> None:
        """End the exchange: the response has been closed."""
        reusable, self._reusable = self._reusable, False
        if not reusable:
            self.close()
        elif self._response.unread > MAX_UNREAD:
            self.resume_reading()
        self._on_release(self, reusable)

    def close(self) -> None:
        """Close at once. A response under way breaks off."""
        self._reusable = False
        self._response.end(httpx.ReadError("The connection was closed here."))
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop. The parser calls the `on_…` methods below."""
        if self._parser is None:
            return
        response = self._response
        response.unread += len(data)
        self.silent = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            response.end(httpx.RemoteProtocolError(f"{type(error).__name__}: {error}"))
            self.close()
            return
        if response.unread > MAX_UNREAD:
            self._limit_unread(response)
        response.wake()

    def _limit_unread(self, response: ResponseStream) -> None:
        """Stop reading the socket until the body is read. A head without a body yet is too large: refuse it."""
        if response.has_body or response.over:
            self._transport.pause_reading()
        else:
            response.end(httpx.RemoteProtocolError(HEAD_TOO_LARGE))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._reusable = False
        self._parser = None  # it refers to this object: a cycle would wait for the garbage collector
        response = self._response
        if exc is not None:
            response.end(httpx.ReadError(str(exc)))
        elif response.status is None or response.framed:
            response.end(httpx.RemoteProtocolError("The connection was closed before the response was complete."))
        else:
            response.end()
        self._on_lost(self)

    def on_message_begin(self) -> None:
        """Called by the parser, as the methods below. A response without a request ends the connection."""
        if self._response.over:
            raise httpx.RemoteProtocolError("There is a response without a request.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header. Trailers, which come after the body, are left out."""
        response = self._response
        if response.status is not None:
            return
        response.headers.append((name, value.rstrip(b" \t")))  # the parser leaves white space at the end
        response.head_size += len(name) + len(value)
        if len(response.headers) > MAX_HEADERS or response.head_size > MAX_HEAD:
            response.end(httpx.RemoteProtocolError(HEAD_TOO_LARGE))
            raise httpx.RemoteProtocolError(HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """Record the status. A status below 200 is interim: the response itself follows."""
        if self._parser is not None and (status := self._parser.get_status_code()) >= httpx.codes.OK:
            self._response.status = status
            self._response.framed = any(name.lower() in FRAMING for name, _ in self._response.headers)

    def on_body(self, body: bytes) -> None:
        """Add a piece of the body."""
        self._response.put(body)

    def on_message_complete(self) -> None:
        """End the response, or forget the headers of an interim one."""
        if self._response.status is None:
            self._response.headers.clear()
        elif self._parser is not None:
            self._reusable = self._parser.should_keep_alive()
            self._response.end()
