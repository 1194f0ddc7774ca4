"""Checks JSON text before it is parsed: its depth, its number of values and the length of its numbers are bounded.

A parser holds the interpreter's lock as long as it works, even in a thread: 9 MB of `{}` take 190 ms. So a text is
scanned first, a slice at a time, and refused if a parser would take long. The scan uses methods of bytes only
(`translate`, `split`, `count`), which take 1 ms for each MB. The content of strings isn't counted: a 10 MB image is
one value.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

SLICE = 64 * 1024  # bytes; the slowest slice consists of quotes and takes 2 ms

NUMBER = b"+-.0123456789Ee"
OPENING, CLOSING, BETWEEN = b"[{", b"]}", b",:"
STEPS = bytes.maketrans(OPENING + CLOSING, b"\x01\x01\xff\xff")
NOT_STRUCTURE = bytes(set(range(256)) - set(OPENING + CLOSING + BETWEEN))
NOT_BRACKETS = NOT_STRUCTURE + BETWEEN
NUMBERS = bytes(byte if byte in NUMBER else ord(" ") for byte in range(256))


class JsonLimits(NamedTuple):
    """The limits of a JSON text.

    `values`: each key is a value, too, and an empty container counts as two. `depth`: how deep brackets may nest.
    `number`: characters of one number, because a parser's time grows with their square.
    """

    values: int
    depth: int
    number: int = 64


class JsonTooLarge(ValueError):
    """The JSON exceeds a limit, which the message names."""


class JsonScan:
    """Counts the values and brackets in the slices of one JSON text.

    A text that isn't JSON may pass: a parser refuses it quickly.
    """

    def __init__(self, limits: JsonLimits) -> None:
        self._limits = limits
        self._values = 1
        self._quotes = 0
        self._depth = 0
        self._in_string = False
        self._escape = b""  # a backslash that ended the last slice
        self._number = b""  # digits that ended the last slice

    def feed(self, data: bytes) -> None:
        """Scan the next slice. Raise `JsonTooLarge` as soon as a limit is exceeded."""
        outside = self._outside_of_strings(data)
        structure = outside.translate(None, NOT_STRUCTURE)
        brackets = structure.translate(None, BETWEEN)
        openings = brackets.count(b"[") + brackets.count(b"{")
        self._values += len(structure) - len(brackets) + openings
        if max(self._values, self._quotes // 2) > self._limits.values:  # each string is a value, also without a comma
            raise JsonTooLarge("The JSON holds more values and keys than MAX_JSON_VALUES.")
        if self._depth + openings > self._limits.depth:  # may be too deep: only then count bracket by bracket
            self._follow(brackets)
        else:
            self._depth += openings - (len(brackets) - openings)
        self._check_numbers(outside)

    def _outside_of_strings(self, data: bytes) -> bytes:
        """Return the text outside of strings, with `"` in the place of each string."""
        data = self._escape + data
        backslashes = len(data) - len(data.rstrip(b"\\"))
        self._escape = b"\\" * (backslashes % 2)
        if self._escape:
            data = data[:-1]
        if b"\\" in data:  # pairs of backslashes go first: a quote after a remaining backslash is an escaped one
            data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = data.split(b'"')
        self._quotes += len(parts) - 1
        outside = b'"'.join(parts[self._in_string :: 2])  # every other part is the content of a string
        self._in_string ^= len(parts) % 2 == 0
        return outside

    def _follow(self, brackets: bytes) -> None:
        """Count the depth bracket by bracket."""
        depths = accumulate(memoryview(brackets.translate(STEPS)).cast("b"), initial=self._depth)
        *_, self._depth = reached = list(depths)
        if max(reached) > self._limits.depth:
            raise JsonTooLarge("The JSON is nested deeper than MAX_JSON_DEPTH.")

    def _check_numbers(self, outside: bytes) -> None:
        """Check the length of numbers, also of one that began in the last slice."""
        outside = self._number + outside
        numbers = outside.translate(NUMBERS).split()
        if max(map(len, numbers), default=0) > self._limits.number:
            raise JsonTooLarge(f"The JSON holds a number of more than {self._limits.number} characters.")
        self._number = numbers[-1] if numbers and outside[-1] in NUMBER else b""


def scan(text: bytes, limits: JsonLimits) -> None:
    """Check a whole JSON text in one go, about 10 ms for 10 MB. Raise `JsonTooLarge`."""
    json = JsonScan(limits)
    for piece in slices(text):
        json.feed(piece)


def slices(text: bytes) -> Iterator[bytes]:
    """Split a text into slices for `JsonScan.feed`."""
    view = memoryview(text)
    return (bytes(view[start : start + SLICE]) for start in range(0, len(text), SLICE))
