"""Parses the bytes of one streamed chat completion into deltas. Pure.

The table in docs/upstreams.md says what each form of data means.
"""

from services.completions.chunk_reader import ChunkReader
from services.completions.deltas import CallDelta, Delta, HostedResult, SourceDelta, TextDelta, ThinkingDelta
from services.completions.payloads import DONE, is_error_name, is_json, is_keepalive, is_whole, parse_payload
from services.completions.sse_events import SseEvents
from services.completions.think_tags import ThinkTags

__all__ = ["CallDelta", "ChatChunks", "Delta", "HostedResult", "SourceDelta", "TextDelta", "ThinkingDelta"]

SHAPE_ERRORS = (AttributeError, LookupError, TypeError, ValueError, RecursionError)
"""Raised while a value is read that doesn't have the shape of a chunk."""
OBJECT = ord("{")


class ChatChunks(ChunkReader):
    """Parses one turn. Call `feed` with each read, `last` at the end of the body, and then `flush`.

    It is a subclass of `ChunkReader`, not its owner, because the state of the stream is read for every token.
    """

    def __init__(self, tags: ThinkTags | None = None, *, is_quoted: bool = True) -> None:
        super().__init__(tags, is_quoted=is_quoted)
        self._events = SseEvents()

    def feed(self, data: bytes) -> list[Delta]:
        """Return the deltas that these bytes complete, up to the end of the stream."""
        deltas: list[Delta] = []
        for name, payload in self._events.feed(data):
            self._event(name, payload, deltas)
            if self.done or self.malformed or self.error_data is not None:  # `over`, without a call for each event
                break
        if self._events.unreadable and not self.over:
            self._unreadable(data)
        return deltas

    def last(self) -> list[Delta]:
        """Return the deltas of the body's end: an event without a blank line after it, or a body that is all JSON.

        Data that can't be read there was cut, and is left out.
        """
        deltas: list[Delta] = []
        if self._events.plain:
            self._document(self._events.document(), deltas)
            return deltas
        for name, payload in self._events.last():
            for line in [payload] if is_whole(payload) else payload.split(b"\n"):
                if not self.over and is_whole(line):
                    self._event(name, line, deltas)
        return deltas

    def _event(self, name: bytes, payload: bytes, deltas: list[Delta]) -> None:
        if (name or payload[0] != OBJECT) and self._not_a_chunk(name, payload, deltas):
            return
        try:
            value, has_surrogates = parse_payload(payload)
            if is_error_name(name):
                self._fail({"error": value or name.decode(errors="replace")})
            else:
                self._value(value, has_surrogates, deltas)
        except SHAPE_ERRORS:
            self._lines(name, payload, deltas)

    def _lines(self, name: bytes, payload: bytes, deltas: list[Delta]) -> None:
        """Read an event that is not a chunk line by line: some servers leave out the blank line between events."""
        lines = [line for line in payload.split(b"\n") if line.strip()]
        if len(lines) == 1:
            self._unreadable(payload)
            return
        for line in lines:
            if not self.over:
                self._event(name, line, deltas)

    def _not_a_chunk(self, name: bytes, payload: bytes, deltas: list[Delta]) -> bool:
        """Handle an event that is not a chunk: the end, a keepalive, text. Returns False if it has to be parsed."""
        text = payload.strip(b' \t\n"')
        if is_error_name(name):
            if is_json(payload):
                return False
            self._fail({"error": (text or name).decode(errors="replace")})
        elif text.upper() == DONE:
            self._end(payload)
        elif is_keepalive(name, text):
            pass
        elif text.startswith(b"data:"):  # proxies add the field's name to lines that have it already
            self._event(name, text[5:].strip() or b"null", deltas)
        elif text.startswith((b"{", b"[")):
            return False
        else:  # a named event may be plain text, the default one may not
            return name not in (b"", b"message")
        return True

    def _document(self, data: bytes, deltas: list[Delta]) -> None:
        """Read a body that is JSON: a whole completion, an error, a list of either, or one chunk for each line."""
        try:
            value, has_surrogates = parse_payload(data)
        except ValueError:
            self._json_lines(data, deltas)
            return
        try:
            self._value(value, has_surrogates, deltas)
        except SHAPE_ERRORS:
            self._unreadable(data)
        if deltas or self.finish_reason is not None:
            self.done = True
        elif self.error_data is None:
            self._unreadable(data)

    def _json_lines(self, data: bytes, deltas: list[Delta]) -> None:
        """Read each line of several that is JSON. A single line that is not JSON was cut."""
        lines = [line for line in data.splitlines() if line.strip()]
        for line in lines if len(lines) > 1 else []:
            if not self.over and is_json(line):
                self._event(b"", line, deltas)
