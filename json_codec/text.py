"""JSON from elsewhere into values that can be written again: no lone surrogate survives, whatever was sent."""

import json
import math
import re
import sys
from collections.abc import Iterator
from typing import Any

import orjson

from json_codec.scan import JsonLimits, JsonTooLarge, scan

HIGH = "\ud800", "\udbff"
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")  # escaped or not, and perhaps half of a pair only
SPACE = re.compile(r"[ \t\n\r]*")


def loads(text: str | bytes) -> tuple[Any, bool]:
    """The value, and whether its strings may hold lone surrogates, which only the slower parser lets through.

    Raise ValueError for what is no JSON.
    """
    try:
        return orjson.loads(text), False
    except ValueError:
        return loads_strictly(text), True


def loads_exactly(text: str) -> Any:
    """The value, mended; whole numbers keep every digit, which the faster parser rounds beyond 64 bits.

    Raise ValueError for what is no JSON, RecursionError for what is nested too deep.
    """
    value = loads_strictly(text)
    return mend(value) if SURROGATE.search(text) else value


def values_in(text: str, most: int) -> Iterator[tuple[Any, str]]:
    """Each of the JSON values that a text holds one after another, read exactly, and the part that it is written in.

    The part is written anew where the value had to be mended. Raise ValueError for what is no JSON, and for more values
    than `most`; RecursionError for what is nested too deep.
    """
    decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
    at = _past_space(text, 0)
    while at < len(text):
        if not most:
            raise ValueError("too many values")
        most -= 1
        value, end = decoder.raw_decode(text, at)
        yield _exactly(value, text[at:end])
        at = _past_space(text, end)


def _exactly(value: Any, written: str) -> tuple[Any, str]:
    if not SURROGATE.search(written):
        return value, written
    mended = mend(value)
    return mended, written if mended == value else dumps(mended)


def _past_space(text: str, at: int) -> int:
    space = SPACE.match(text, at)
    return space.end() if space else at


def loads_strictly(text: str | bytes) -> Any:
    """The value, whose strings may hold lone surrogates.

    Raise ValueError for what is no JSON, NaN and numbers beyond a float included.
    """
    return json.loads(text, parse_constant=_refuse, parse_float=_finite)


def loads_leniently(text: str | bytes) -> tuple[Any, bool]:
    """As `loads`, for what some servers write: null for NaN and numbers beyond a float, control characters in strings
    as they are, and U+FFFD for what is no UTF-8.
    """
    try:
        return orjson.loads(text), False
    except ValueError:
        text = text if isinstance(text, str) else _decoded(text)
        return json.loads(text, strict=False, parse_constant=lambda _: None, parse_float=_finite_or_null), True


def _decoded(data: bytes) -> str:
    """The text of UTF-8, in which surrogates may be written as characters."""
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
    """The value as compact JSON. Raise TypeError or ValueError for what is none."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def mend(value: Any) -> Any:
    """The JSON value with each surrogate pair joined, and each surrogate that stays alone replaced by U+FFFD."""
    return json.loads(mend_text(json.dumps(value, ensure_ascii=False)))


def mend_text(text: str) -> str:
    """The same for one string."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Mender:
    """Mends a text that comes in pieces: half a pair at the end of a piece waits for the next one."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What of the text so far can be said now."""
        piece = self._held + piece
        self._held = ""
        if piece and HIGH[0] <= piece[-1] <= HIGH[1]:
            piece, self._held = piece[:-1], piece[-1]
        return mend_text(piece)

    def flush(self) -> str:
        """What is left at the end of the text."""
        held, self._held = self._held, ""
        return mend_text(held)

    def __bool__(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)


def too_deep(text: bytes, max_depth: int) -> bool:
    """Whether brackets outside of strings nest deeper than that."""
    try:
        scan(text, JsonLimits(sys.maxsize, max_depth, sys.maxsize))
    except JsonTooLarge:
        return True
    return False
