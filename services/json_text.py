"""JSON from elsewhere into values that can be written again: no lone surrogate survives, whatever was sent."""

import json
from typing import Any

import orjson

HIGH = "\ud800", "\udbff"


def loads(text: str | bytes) -> tuple[Any, bool]:
    """The value, and whether its strings may hold lone surrogates, which only the slower parser lets through.

    Raise ValueError for what is no JSON.
    """
    try:
        return orjson.loads(text), False
    except ValueError:
        return json.loads(text, parse_constant=_refuse), True


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def mend(value: Any) -> Any:
    """The value with each surrogate pair joined, and each surrogate that stays alone replaced by U+FFFD."""
    match value:
        case str():
            return mend_text(value)
        case list():
            return [mend(item) for item in value]
        case dict():
            return {mend_text(key): mend(item) for key, item in value.items()}
        case _:
            return value


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
