"""Parses JSON from other programs, and writes JSON.

Two parsers are used: orjson, which is fast but refuses lone surrogates, and Python's, which accepts them. Lone
surrogates can't be encoded as UTF-8, so they are mended (replaced by U+FFFD) before a value is written again.
"""

import json
import math
import re
import sys
from collections.abc import Iterator
from typing import Any

import orjson

from json_codec.scan import JsonLimits, JsonTooLarge, scan

HIGH = "\ud800", "\udbff"
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")  # escaped or not; perhaps one half of a pair
ESCAPES = re.compile(r"\\\\|\\u[dD][89a-fA-F][0-9a-fA-F]{2}")  # of a backslash, and of a half of a surrogate pair
SPACE = re.compile(r"[ \t\n\r]*")


def loads(text: str | bytes) -> tuple[Any, bool]:
    """Return the value, and whether its strings may hold lone surrogates: the slower parser accepts them.

    Raise ValueError for a text that isn't JSON.
    """
    try:
        return orjson.loads(text), False
    except ValueError:
        return loads_strictly(text), True


def loads_exactly(text: str) -> Any:
    """Return the value, mended. Whole numbers keep every digit: the faster parser rounds beyond 64 bits.

    Raise ValueError for a text that isn't JSON, RecursionError for one that nests too deep.
    """
    value = loads_strictly(text)
    return mend(value) if SURROGATE.search(text) else value


def is_object(text: str) -> bool:
    """Return whether a text is one JSON object. A text that is none takes no longer than another."""
    try:
        return isinstance(orjson.loads(text), dict)
    except ValueError:
        pass
    try:  # without lone surrogates, which only the slower parser accepts
        return isinstance(orjson.loads(ESCAPES.sub("?", text).encode("utf-8", "replace")), dict)
    except ValueError:
        return False


def values_in(text: str, most: int) -> Iterator[tuple[Any, str]]:
    """Yield each of the JSON values that follow each other in a text, read exactly, and its part of the text.

    The part is written anew if the value had to be mended. Raise ValueError for a part that isn't JSON and for more
    values than `most`, RecursionError for one that nests too deep.
    """
    at = _past_space(text, 0)
    while at < len(text):
        if not most:
            raise ValueError("too many values")
        most -= 1
        value, written, end = value_at(text, at)
        yield value, written
        at = _past_space(text, end)


def value_at(text: str, at: int) -> tuple[Any, str, int]:
    """Return the JSON value that begins at a place in a text, read exactly, its part of the text, and where it ends.

    The part and the errors are those of `values_in`.
    """
    decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
    value, end = decoder.raw_decode(text, at)
    return *_exactly(value, text[at:end]), end


def _exactly(value: Any, written: str) -> tuple[Any, str]:
    if not SURROGATE.search(written):
        return value, written
    mended = mend(value)
    return mended, written if mended == value else dumps(mended)


def _past_space(text: str, at: int) -> int:
    space = SPACE.match(text, at)
    return space.end() if space else at


def loads_strictly(text: str | bytes) -> Any:
    """Return the value, whose strings may hold lone surrogates.

    Raise ValueError for a text that isn't JSON, for NaN and for numbers too large for a float.
    """
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def loads_leniently(text: str | bytes) -> tuple[Any, bool]:
    """Parse as `loads` does, and accept the errors of some servers.

    NaN and numbers too large for a float become null, control characters in strings are kept, and bytes that aren't
    UTF-8 become U+FFFD.
    """
    try:
        return orjson.loads(text), False
    except ValueError:
        text = text if isinstance(text, str) else _decoded(text)
        return json.loads(text, strict=False, parse_constant=lambda _: None, parse_float=_finite_or_null), True


def _decoded(data: bytes) -> str:
    """Decode UTF-8. Surrogates that were encoded as characters are kept."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def _finite_or_null(digits: str) -> float | None:
    value = float(digits)
    return None if math.isinf(value) else value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits} is too large for a number")
    return value


def dumps(value: Any) -> str:
    """Write the value as compact JSON. Raise TypeError or ValueError for one that JSON can't express."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def mend(value: Any) -> Any:
    """Join the surrogate pairs in a value's strings and keys, and replace lone surrogates by U+FFFD."""
    return json.loads(mend_text(json.dumps(value, ensure_ascii=False)))


def mend_text(text: str) -> str:
    """Do as `mend` for one string."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Mender:
    """Mends a text that arrives in pieces. Half a pair at the end of a piece is held back for the next one."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Add a piece. Returns the mended text that is complete now."""
        piece = self._held + piece
        self._held = ""
        if piece and HIGH[0] <= piece[-1] <= HIGH[1]:
            piece, self._held = piece[:-1], piece[-1]
        return mend_text(piece)

    def flush(self) -> str:
        """End the text. Returns what was held back."""
        held, self._held = self._held, ""
        return mend_text(held)

    def __bool__(self) -> bool:
        """Return whether half a pair is held back."""
        return bool(self._held)


def too_deep(text: bytes, max_depth: int) -> bool:
    """Return whether brackets outside of strings nest deeper than `max_depth`."""
    try:
        scan(text, JsonLimits(sys.maxsize, max_depth, sys.maxsize))
    except JsonTooLarge:
        return True
    return False
