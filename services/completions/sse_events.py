"""A body's bytes into server-sent events, or into the lines of JSON that some servers send in their place. Pure."""

import codecs
import re

CR, LF = b"\r\n"  # as numbers, since `in` for bytes in bytes raises and catches an error on its way
BLANK = b" \t\r\n"
NO_FIELD = (b"{", b"[", b"<")
MAX_BLANK_BYTES = 1024  # in one line, before anything else
LINED = re.compile(rb"(?:^|\n)data: ?\{[^\n]*\}\n(?:(?:event|id):[^\n]*\n)*data: ?[{\[]")
"""Two events with one line end between them: an object in one line, and the beginning of another, or of [DONE]."""
MAX_LOOKED_AT = 64 * 1024  # bytes of an event in which that is looked for
MAX_EVENT_BYTES = 16 * 1024 * 1024

Event = tuple[bytes, bytes]
"""An event's name and its data, one of which may be empty."""


class SseEvents:
    """Splits one body. Feed it what each read brings; at the end of the body ask for `rest`.

    `plain` says that the body began with `{` or `[`: it is JSON whatever its headers say, and comes whole, from `rest`.
    `unreadable` is set for a body that is a page (`<`), and for an event longer than MAX_EVENT_BYTES.
    """

    def __init__(self) -> None:
        self.plain = False
        self.unreadable = False
        self._rest = b""
        self._more: list[bytes] = []  # of an event longer than a read, what follows the rest
        self._held = 0  # bytes in both
        self._after_cr = False
        self._lined = False  # whether each line is an event, up to the next blank line
        self.feed = self._first

    def _first(self, data: bytes) -> list[Event]:
        """Look at the first byte that says what the body is."""
        self._rest += data
        begun = self._rest.removeprefix(codecs.BOM_UTF8)
        first = begun.lstrip(BLANK)[:1]
        if not first or codecs.BOM_UTF8.startswith(begun):  # nothing yet, such as empty lines, or a part of the mark
            self._rest = self._rest[self._rest.rfind(LF) + 1 :]
            self.unreadable = len(self._rest) > MAX_BLANK_BYTES
            return []
        self._rest = b""
        self.plain = first in (b"{", b"[")
        self.unreadable = first == b"<"
        self.feed = self._hold if self.plain else self._split
        return self.feed(begun)

    def _hold(self, data: bytes) -> list[Event]:
        """Keep a part of an event, or of a body that is read at its end."""
        self._more.append(data)
        self._held += len(data)
        self.unreadable |= self._held > MAX_EVENT_BYTES
        return []

    def _split(self, data: bytes) -> list[Event]:
        """Each event with data that these bytes complete."""
        if self._after_cr:
            data = data.removeprefix(b"\n")  # the second half of a CRLF
        self._after_cr = data.endswith(b"\r")
        if CR in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if LF not in data:
            return self._hold(data)
        begun = b"".join((self._rest, *self._more, data))
        blocks = begun.split(b"\n\n")
        self._more.clear()
        if self._lined or (len(blocks) == 1 and LINED.search(begun, 0, MAX_LOOKED_AT)):
            self._lined = len(blocks) == 1
            blocks[:1] = blocks[0].split(b"\n")
        self._rest = b"\n" + blocks.pop() if self._lined else blocks.pop()  # a blank line may begin with this line end
        self._held = len(self._rest)
        self.unreadable |= self._held > MAX_EVENT_BYTES
        events = []
        for block in blocks:
            if block.startswith(b"data: ") and LF not in block and len(block) > 6:
                events.append((b"", block[6:]))
            elif block:
                events += _events(block)
        return events

    def rest(self) -> bytes:
        """What is left at the end of a body that is plain JSON."""
        return b"".join(self._more)

    def last(self) -> list[Event]:
        """The event that the body ended in, without a blank line after it. It may have been cut."""
        return _events(b"".join((self._rest, *self._more)))


def _events(block: bytes) -> list[Event]:
    """The event that a block of lines is, in its general form; none without data, such as a comment.

    A field's name counts without case and white space around it. A line that can be no field is an event of its own,
    in its place, and so is a field `error`: servers that fail in the middle of a stream write their error as it is
    (Ollama, gateways), or under that name (llama.cpp before October 2025). An event with a name and without data is
    kept, since its name may say that it is an error.
    """
    name, data, events = b"", [], []
    for line in block.removeprefix(codecs.BOM_UTF8).split(b"\n"):
        field, _, value = line.partition(b":")
        field = field.strip().lower()
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
        elif bare := _bare(field, value, line):
            if name or data:
                events.append((name, b"\n".join(data)))
            events.append(bare)
            name, data = b"", []
    if name or any(data):
        events.append((name, b"\n".join(data)))
    return events


def _bare(field: bytes, value: bytes, line: bytes) -> Event | None:
    """The event that a line is by itself; None for the line of another field, or a comment."""
    if field == b"error" and value:
        return field, value.strip()
    return (b"", line) if b" " in field or field.startswith(NO_FIELD) else None
