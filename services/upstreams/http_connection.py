"""HTTP/1.1 to an upstream: a connection, parsed by httptools as bytes arrive, and the answers that it brings.

A general client's layers cost more than the tokens that pass through them; here a read of the socket goes through the
parser straight to whoever waits for it. Not for HEAD, upgrades, or requests whose body comes piece by piece.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import httptools
import httpx

MAX_UNREAD = 128 * 1024  # bytes that wait to be read, beyond which the socket is left alone
MAX_HEAD = 64 * 1024  # bytes of an answer's headers
MAX_HEADERS = 256
HEAD_TOO_LARGE = "The answer's headers, or its trailers, are too large."
FRAMING = frozenset((b"content-length", b"transfer-encoding"))


class ResponseStream(httpx.AsyncByteStream):
    """A response as it arrives. Until `aclose` it has its connection to itself.

    `framed` tells whether the headers say where the body ends; else the end of the connection does.
    """

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.put = self._pieces.append
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
            await self._news()

    async def read(self) -> bytes:
        """What has arrived of the body since the last read; waits for some, and is empty at the end.

        Raise `httpx.TransportError` where the body breaks off, `httpx.StreamClosed` after `aclose`.
        """
        pieces = self._pieces
        while not pieces:
            if self.over and self._error is None:
                return b""
            await self._news()
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self.unread > MAX_UNREAD:
            self._connection.go_on()
        self.unread = 0
        return data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, as `read` gives it."""
        while data := await self.read():
            yield data

    async def aclose(self) -> None:
        """Give the connection back; it is closed unless the whole answer has come."""
        if not isinstance(self._error, httpx.StreamClosed):
            self._error = httpx.StreamClosed()
            self._pieces.clear()
            self._connection.release()
            self.wake()

    def end(self, error: httpx.TransportError | None = None) -> None:
        """No more comes. Only the first call counts."""
        if not self.over:
            self.over, self._error = True, self._error or error
        self.wake()

    def wake(self) -> None:
        """Something has come."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _news(self) -> asyncio.Future[None]:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        return self._waiter


class Connection(asyncio.Protocol):
    """One connection, for one exchange at a time.

    `on_release` is called when an exchange has ended, with whether there can be another; else the connection is closed.
    `on_lost` is called when the connection is gone.
    """

    def __init__(
        self, on_release: Callable[["Connection", bool], None], on_lost: Callable[["Connection"], None]
    ) -> None:
        self._on_release = on_release
        self._on_lost = on_lost
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)  # until it is lost
        self._answer = ResponseStream(self)
        self._answer.over = True
        self._reusable = False
        self.silent = True

    async def ask(self, message: list[bytes]) -> ResponseStream:
        """Send a request, and return its answer when the head is there.

        When it raises, the connection is to be closed; `httpx.TransportError` is the upstream's fault, and if the
        connection is `silent`, then not a byte has come from there.
        """
        if self._parser is None:
            raise httpx.RemoteProtocolError("The connection was closed before a request was sent.")
        answer = self._answer = ResponseStream(self)
        self.silent = True
        self._transport.writelines(message)
        await answer.head()
        return answer

    def go_on(self) -> None:
        """Read the socket again."""
        self._transport.resume_reading()

    def release(self) -> None:
        """The one who asked is done with the answer."""
        reusable, self._reusable = self._reusable, False
        if not reusable:
            self.close()
        elif self._answer.unread > MAX_UNREAD:
            self.go_on()
        self._on_release(self, reusable)

    def close(self) -> None:
        """Close at once. An answer under way breaks off."""
        self._reusable = False
        self._answer.end(httpx.ReadError("The connection was closed here."))
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """For the event loop."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """For the event loop."""
        if self._parser is None:
            return
        answer = self._answer
        answer.unread += len(data)
        self.silent = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            answer.end(httpx.RemoteProtocolError(f"{type(error).__name__}: {error}"))
            self.close()
            return
        if answer.unread > MAX_UNREAD:
            self._hold_up(answer)
        answer.wake()

    def _hold_up(self, answer: ResponseStream) -> None:
        """Leave the rest in the socket until the body so far is read. Without a body, nothing would ever be read."""
        if answer.has_body or answer.over:
            self._transport.pause_reading()
        else:
            answer.end(httpx.RemoteProtocolError(HEAD_TOO_LARGE))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """For the event loop."""
        self._reusable = False
        self._parser = None  # which refers to this object
        answer = self._answer
        if exc is not None:
            answer.end(httpx.ReadError(str(exc)))
        elif answer.status is None or answer.framed:
            answer.end(httpx.RemoteProtocolError("The connection was closed before the answer was complete."))
        else:
            answer.end()
        self._on_lost(self)

    def on_message_begin(self) -> None:
        """For the parser, as all that follow. What nobody asked for ends the connection."""
        if self._answer.over:
            raise httpx.RemoteProtocolError("More than one answer.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers, which come after the body, are left out."""
        answer = self._answer
        if answer.status is not None:
            return
        answer.headers.append((name, value.rstrip(b" \t")))  # the parser leaves white space at the end
        answer.head_size += len(name) + len(value)
        if len(answer.headers) > MAX_HEADERS or answer.head_size > MAX_HEAD:
            answer.end(httpx.RemoteProtocolError(HEAD_TOO_LARGE))
            raise httpx.RemoteProtocolError(HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """What a status below 200 announces is still to come."""
        if self._parser is not None and (status := self._parser.get_status_code()) >= httpx.codes.OK:
            self._answer.status = status
            self._answer.framed = any(name.lower() in FRAMING for name, _ in self._answer.headers)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._answer.put(body)

    def on_message_complete(self) -> None:
        """The answer is complete, or was one that goes before."""
        if self._answer.status is None:
            self._answer.headers.clear()
        elif self._parser is not None:
            self._reusable = self._parser.should_keep_alive()
            self._answer.end()
