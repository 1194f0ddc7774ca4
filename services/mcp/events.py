"""A stream of server-sent events from an MCP server, each event's data made into a message that the SDK reads."""

from collections.abc import AsyncIterable, AsyncIterator, Iterator

from services.mcp.incoming import Incoming, RequestId

MAX_FIELD = 64 * 1024  # bytes of a line that is no data; the rest of it is dropped
DATA, EVENT = b"data:", b"event:"
BOM = b"\xef\xbb\xbf"  # which may stand before a stream


class Events:
    """Makes the messages of one stream sound. `request` is the one that the stream answers, if it is one's answer.

    Data become one line, or none where they are no message, such as a keepalive, which the SDK takes for a bad answer.
    An event that ends with the body is complete. The data of an `endpoint` event are no message, and stay.
    """

    def __init__(self, request: RequestId | None, max_bytes: int) -> None:
        self._request = request
        self._max_bytes = max_bytes
        self._line = b""  # what there is of a line that isn't known to be data
        self._in_data = False  # within a line of data
        self._fields = b""  # of the event, but for its data
        self._data: Incoming | None = None
        self._is_endpoint = False

    async def of(self, body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """The events of a body, as bytes again."""
        async for piece in body:
            if made := b"".join(self._made(piece)):
                yield made
            if self._request is not None and self._data is not None and self._data.too_large:
                break  # this is the answer, however much more of it comes
        if self._data is not None:
            yield b"".join(self._made(b"\n\n"))

    def _made(self, piece: bytes) -> Iterator[bytes]:
        *ended, rest = piece.split(b"\n")
        for part in ended:
            self._take(part)
            yield from self._end()
        self._take(rest)

    def _take(self, part: bytes) -> None:
        """Take in a part of a line."""
        if self._in_data and self._data is not None:
            self._data.add(part)
            return
        self._line = (self._line + part).removeprefix(BOM)[:MAX_FIELD]
        if self._line.startswith(DATA) and not self._is_endpoint:
            self._data, self._in_data = self._data or Incoming(self._max_bytes), True
            self._data.add(self._line.removeprefix(DATA).lstrip(b" "))
            self._line = b""

    def _end(self) -> Iterator[bytes]:
        """End a line. An empty one ends the event."""
        if self._in_data and self._data is not None:
            self._data.add(b"\n")
            self._in_data = False
            return
        line, self._line = self._line.rstrip(b"\r"), b""
        if line:
            self._is_endpoint = self._is_endpoint or line.removeprefix(EVENT).strip() == b"endpoint"
            if self._is_endpoint or not line.startswith(EVENT):  # the SDK takes a message by no other name
                self._fields = (self._fields + line + b"\n")[:MAX_FIELD]
            return
        messages = self._messages() or [b""]
        yield self._fields + b"\n".join(messages) + b"\n"
        self._fields, self._data, self._is_endpoint = b"", None, False

    def _messages(self) -> list[bytes]:
        """The line of data of each message, of which a batch has several; none where there is no message."""
        data = self._data
        if data is None:
            return []
        if message := data.read():
            messages = [message]
        elif not (messages := data.read_all(self._request)):
            asked = self._request if data.too_large and self._request is not None else data.answered
            messages = [] if asked is None else [data.refusal(asked)]
        return [DATA + message.translate(None, b"\r\n") + b"\n" for message in messages]
