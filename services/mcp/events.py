"""Rewrites an MCP server's stream of server-sent events, so that the SDK can read each event's message."""

from collections.abc import AsyncIterable, AsyncIterator, Iterator

from services.mcp.incoming import Incoming
from services.mcp.json_rpc import RequestId

MAX_FIELD = 64 * 1024  # bytes of a line that isn't data; more of it is dropped
DATA, EVENT = b"data:", b"event:"
BOM = b"\xef\xbb\xbf"  # a byte order mark, which may precede a stream


class Events:
    """Mends the messages of one stream. `request` is the request that the stream answers, if it answers a single one.

    Data become one line. Data that aren't a message, such as a keepalive, are dropped: the SDK takes them for a bad
    answer. An event that the end of the body cuts off is complete. The data of an `endpoint` event are a URL, and stay.
    """

    def __init__(self, request: RequestId | None, max_bytes: int) -> None:
        self._request = request
        self._max_bytes = max_bytes
        self._line = b""  # the start of a line that isn't known to be data
        self._in_data = False  # whether a line of data has begun
        self._fields = b""  # the event's other lines
        self._data: Incoming | None = None
        self._is_endpoint = False

    async def rewrite(self, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Yield the events of a body as bytes again."""
        async for piece in body:
            if events := b"".join(self._events_in(piece)):
                yield events
            if self._request is not None and self._data is not None and self._data.too_large:
                break  # it will be refused, so the rest of it isn't read
        if self._data is not None:
            yield b"".join(self._events_in(b"\n\n"))

    def _events_in(self, piece: bytes) -> Iterator[bytes]:
        """Yield the events that a piece of the body completes."""
        *lines, unfinished = piece.split(b"\n")
        for part in lines:
            self._add(part)
            yield from self._end_line()
        self._add(unfinished)

    def _add(self, part: bytes) -> None:
        """Add a part of a line."""
        if self._in_data and self._data is not None:
            self._data.add(part)
            return
        self._line = (self._line + part).removeprefix(BOM)[:MAX_FIELD]
        if self._line.startswith(DATA) and not self._is_endpoint:
            self._data, self._in_data = self._data or Incoming(self._max_bytes), True
            self._data.add(self._line.removeprefix(DATA).lstrip(b" "))
            self._line = b""

    def _end_line(self) -> Iterator[bytes]:
        """End a line. An empty line ends the event, which is yielded."""
        if self._in_data and self._data is not None:
            self._data.add(b"\n")
            self._in_data = False
            return
        line, self._line = self._line.rstrip(b"\r"), b""
        if line:
            self._is_endpoint = self._is_endpoint or line.removeprefix(EVENT).strip() == b"endpoint"
            if self._is_endpoint or not line.startswith(EVENT):  # with any other name, the SDK ignores the message
                self._fields = (self._fields + line + b"\n")[:MAX_FIELD]
            return
        messages = self._messages() or [b""]
        yield self._fields + b"\n".join(messages) + b"\n"
        self._fields, self._data, self._is_endpoint = b"", None, False

    def _messages(self) -> list[bytes]:
        """Return a line of data for each message of the event: a batch has several, a keepalive none."""
        data = self._data
        if data is None:
            return []
        if message := data.read():
            messages = [message]
        elif not (messages := data.read_all(self._request)):
            request = self._request if data.too_large and self._request is not None else data.answered
            messages = [] if request is None else [data.refusal(request)]
        return [DATA + message.translate(None, b"\r\n") + b"\n" for message in messages]
