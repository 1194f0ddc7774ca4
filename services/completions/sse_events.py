"""Splits a body into server-sent events, or into the lines of JSON that some servers send instead. Pure."""

import codecs
import re

CR, LF = b"\r\n"  # numbers: for `bytes in bytes`, CPython first raises and catches a TypeError inside
BLANK = b" \t\r\n"
NOT_A_FIELD = (b"{", b"[", b"<")
MAX_BLANK_BYTES = 1024  # white space in the first line of a body
LINE_EVENTS = re.compile(rb"(?:^|\n)data: ?\{[^\n]*\}\n(?:(?:event|id):[^\n]*\n)*data: ?[{\[]")
"""Two events without a blank line between them: an object on one line, then the start of another, or of [DONE]."""
MAX_SEARCHED = 64 * 1024  # bytes in which LINE_EVENTS is searched for
MAX_EVENT_BYTES = 16 * 1024 * 1024

Event = tuple[bytes, bytes]
"""An event's name and its data. One of them may be empty."""


class SseEvents:
    """Splits one body. Call `feed` with each read, and at the end of the body `last`, or `document` if it is `plain`.

    `plain` is set if the body begins with `{` or `[`: it is JSON, whatever its headers say. `unreadable` is set for a
    body that is a web page (`<`), and for an event longer than MAX_EVENT_BYTES.
    """

    def __init__(self) -> None:
        self.plain = False
        self.unreadable = False
        self._incomplete = b""  # the start of an event that is not complete yet
        self._continuation: list[
            bytes
        ] = []  # the reads that continue it; joined once, or a long event takes quadratic time
        self._held_bytes = 0  # bytes in both
        self._after_cr = False
        self._line_events = False  # each line is an event, up to the next blank line
        # Rebound once the first byte has shown the kind of body, so that later reads don't check it again.
        self.feed = self._detect

    def _detect(self, data: bytes) -> list[Event]:
        """Find out from the first byte what kind of body it is, and continue with the method for that kind."""
        self._incomplete += data
        text = self._incomplete.removeprefix(codecs.BOM_UTF8)
        first = text.lstrip(BLANK)[:1]
        if not first or codecs.BOM_UTF8.startswith(text):  # only empty lines, or a part of the byte order mark, so far
            self._incomplete = self._incomplete[self._incomplete.rfind(LF) + 1 :]
            self.unreadable = len(self._incomplete) > MAX_BLANK_BYTES
            return []
        self._incomplete = b""
        self.plain = first in (b"{", b"[")
        self.unreadable = first == b"<"
        self.feed = self._hold if self.plain else self._split
        return self.feed(text)

    def _hold(self, data: bytes) -> list[Event]:
        """Keep a part of an event, or of a body that is parsed at its end."""
        self._continuation.append(data)
        self._held_bytes += len(data)
        self.unreadable |= self._held_bytes > MAX_EVENT_BYTES
        return []

    def _split(self, data: bytes) -> list[Event]:
        """Return the events that these bytes complete."""
        if self._after_cr:
            data = data.removeprefix(b"\n")  # the second half of a CRLF
        self._after_cr = data.endswith(b"\r")
        if CR in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if LF not in data:
            return self._hold(data)
        text = b"".join((self._incomplete, *self._continuation, data))
        blocks = text.split(b"\n\n")
        self._continuation.clear()
        if self._line_events or (len(blocks) == 1 and LINE_EVENTS.search(text, 0, MAX_SEARCHED)):
            self._line_events = len(blocks) == 1
            blocks[:1] = blocks[0].split(b"\n")
        self._incomplete = blocks.pop()
        if self._line_events:
            self._incomplete = b"\n" + self._incomplete  # this line end may be the first half of a blank line
        self._held_bytes = len(self._incomplete)
        self.unreadable |= self._held_bytes > MAX_EVENT_BYTES
        events = []
        for block in blocks:
            # Nearly every event is a single `data: ` line. Slicing it costs about a third of `_events`.
            if block.startswith(b"data: ") and LF not in block and len(block) > 6:
                events.append((b"", block[6:]))
            elif block:
                events += _events(block)
        return events

    def document(self) -> bytes:
        """Return the whole body, if it is `plain`."""
        return b"".join(self._continuation)

    def last(self) -> list[Event]:
        """Return the events of the last lines, which have no blank line after them and may have been cut."""
        return _events(b"".join((self._incomplete, *self._continuation)))


def _events(block: bytes) -> list[Event]:
    """Parse a block of lines in its general form. A block without data, such as a comment, has no event.

    Field names are compared without case and without white space around them. A line that can't be a field is an event
    of its own, and so is a field `error`: servers that fail in the middle of a stream write their error as it is
    (Ollama, gateways), or under that name (llama.cpp before October 2025). An event with a name but without data is
    kept, because its name may say that it is an error.
    """
    name, data, events = b"", [], []
    for line in block.removeprefix(codecs.BOM_UTF8).split(b"\n"):
        field, _, value = line.partition(b":")
        field = field.strip().lower()
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
        elif bare := _bare_event(field, value, line):
            if name or data:
                events.append((name, b"\n".join(data)))
            events.append(bare)
            name, data = b"", []
    if name or any(data):
        events.append((name, b"\n".join(data)))
    return events


def _bare_event(field: bytes, value: bytes, line: bytes) -> Event | None:
    """Return the event that a line is by itself. None if the line is another field or a comment."""
    if field == b"error" and value:
        return field, value.strip()
    return (b"", line) if b" " in field or field.startswith(NOT_A_FIELD) else None
