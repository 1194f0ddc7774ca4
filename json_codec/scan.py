"""A scan of JSON text before any parser sees it: bounds on its depth, its values and the length of its numbers.

A parser holds the interpreter's lock for as long as it works, in a thread as well: 9 MB of `{}` take 190 ms. So the
text is scanned first, a slice at a time, by bytes' own methods, and what could take a parser long is refused. What is
in strings costs nothing: 10 MB of an image are one value.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

SLICE = 64 * 1024  # bytes; the slowest slice, of quotes alone, takes 2 ms

NUMBER = b"+-.0123456789Ee"
OPENING, CLOSING, BETWEEN = b"[{", b"]}", b",:"
STEPS = bytes.maketrans(OPENING + CLOSING, b"\x01\x01\xff\xff")
NOT_STRUCTURE = bytes(set(range(256)) - set(OPENING + CLOSING + BETWEEN))
NOT_BRACKETS = NOT_STRUCTURE + BETWEEN
NUMBERS = bytes(byte if byte in NUMBER else ord(" ") for byte in range(256))


class JsonLimits(NamedTuple):
    """The most that a JSON text may hold.

    `values`: each key is one, too, and an empty container counts as two. `depth`: of brackets. `number`: characters of
    one number, since a parser's time grows with their square.
    """

    values: int
    depth: int
    number: int = 64


class JsonTooLarge(ValueError):
    """The JSON passes a limit, which the message names."""


class JsonScan:
    """Counts what the slices of one JSON text hold. What isn't JSON passes: a parser finds it out at once."""

    def __init__(self, limits: JsonLimits) -> None:
        self._limits = limits
        self._values = 1
        self._quotes = 0
        self._depth = 0
        self._in_string = False
        self._escape = b""  # a backslash at the end of the slice before
        self._number = b""  # the beginning of a number, likewise

    def feed(self, data: bytes) -> None:
        """Take in the next slice. Raise `JsonTooLarge` as soon as a limit is passed."""
        outside = self._outside_of_strings(data)
        structure = outside.translate(None, NOT_STRUCTURE)
        brackets = structure.translate(None, BETWEEN)
        openings = brackets.count(b"[") + brackets.count(b"{")
        self._values += len(structure) - len(brackets) + openings
        if max(self._values, self._quotes // 2) > self._limits.values:  # each string is one, wherever it stands
            raise JsonTooLarge("The JSON holds more values and keys than MAX_JSON_VALUES.")
        if self._depth + openings > self._limits.depth:
            self._follow(brackets)
        else:
            self._depth += openings - (len(brackets) - openings)
        self._check_numbers(outside)

    def _outside_of_strings(self, data: bytes) -> bytes:
        """What is not in strings, with `"` in the place of each string."""
        data = self._escape + data
        backslashes = len(data) - len(data.rstrip(b"\\"))
        self._escape = b"\\" * (backslashes % 2)
        if self._escape:
            data = data[:-1]
        if b"\\" in data:  # pairs go first, so that a quote after a backslash that is left is an escaped one
            data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = data.split(b'"')
        self._quotes += len(parts) - 1
        outside = b'"'.join(parts[self._in_string :: 2])
        self._in_string ^= len(parts) % 2 == 0
        return outside

    def _follow(self, brackets: bytes) -> None:
        """Follow the depth, bracket by bracket."""
        depths = accumulate(memoryview(brackets.translate(STEPS)).cast("b"), initial=self._depth)
        *_, self._depth = reached = list(depths)
        if max(reached) > self._limits.depth:
            raise JsonTooLarge("The JSON is nested deeper than MAX_JSON_DEPTH.")

    def _check_numbers(self, outside: bytes) -> None:
        outside = self._number + outside
        numbers = outside.translate(NUMBERS).split()
        if max(map(len, numbers), default=0) > self._limits.number:
            raise JsonTooLarge(f"The JSON holds a number of more than {self._limits.number} characters.")
        self._number = numbers[-1] if numbers and outside[-1] in NUMBER else b""


def scan(text: bytes, limits: JsonLimits) -> None:
    """Check a whole JSON text at once, about 10 ms for 10 MB. Raise as `JsonScan.feed` does."""
    json = JsonScan(limits)
    for piece in slices(text):
        json.feed(piece)


def slices(text: bytes) -> Iterator[bytes]:
    """The text in pieces, each of which is scanned in no time to speak of."""
    view = memoryview(text)
    return (bytes(view[start : start + SLICE]) for start in range(0, len(text), SLICE))
