"""What a tool gives, as the text that a model reads: text as it is, anything else as JSON, or a clear error."""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from pydantic_core import to_json, to_jsonable_python

from services.json_text import dumps
from services.tools import ToolError

HEAVY = 128 * 1024  # values and characters; writing more at once would hold up other threads
MAX_CHARACTERS = 4 * 1024 * 1024  # of JSON that is written for a model, which gets less of it
ENDLESS = ("Circular reference", "depth exceeded", "recursion depth")  # as the writers of JSON say it
SEVERAL = (list, tuple, set, frozenset, deque)
TEXTS = (str, bytes)
SIZED = (*TEXTS, dict, *SEVERAL)
SCALARS = {int, float, bool, type(None)}
BYTES = (bytes, bytearray, memoryview)


def as_text(value: Any) -> str:
    """Text as it is, another value as compact JSON; None is `null`, and NaN, which JSON doesn't have, `"NaN"`.

    Models, dataclasses, dates, decimals, enums, sets, paths and the like are written as pydantic writes them. Bytes are
    their text if they are UTF-8, else `{"base64": …}`. JSON of more than `MAX_CHARACTERS` isn't written to its end.
    Raise `ToolError` for what is no JSON, or has no end.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, BYTES):
        return _text_of_bytes(bytes(value))
    strange: list[str] = []

    def fallback(found: Any) -> Any:
        """What isn't JSON, nor anything that pydantic knows."""
        if isinstance(found, Mapping):
            return dict(found)
        if isinstance(found, PurePath):
            return str(found)
        strange.append(type(found).__name__)
        raise TypeError

    try:
        return _beginning(value, fallback) if _is_heavy(value) else _whole(value, fallback)
    except (TypeError, ValueError, RecursionError) as error:
        if strange:
            raise ToolError(f"The tool's result is not JSON: it holds a {strange[0]}.") from None
        if any(said in str(error) for said in ENDLESS):
            raise ToolError("The tool's result is not JSON: it holds itself, or is nested too deep.") from None
        raise ToolError("The tool's result could not be written as JSON.") from error


def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return to_json({"base64": value}, bytes_mode="base64").decode()


def _is_heavy(value: Any) -> bool:
    """Whether there is much to write, as far as plain containers tell. Raise `ToolError` for what may have no end."""
    left, found = HEAVY, [value]
    while found and left > 0:
        part = found.pop()
        if type(part) in SCALARS:
            continue
        if isinstance(part, SIZED):
            left -= len(part) + 1
            if left > 0 and not isinstance(part, TEXTS):
                found += part.values() if isinstance(part, dict) else part
        elif isinstance(part, Iterator):
            raise _endless(part)
    return left <= 0


def _endless(part: Iterator[Any]) -> ToolError:
    return ToolError(f"The tool's result has a {type(part).__name__}, which may have no end: return a list.")


def _whole(value: Any, fallback: Any) -> str:
    try:
        return dumps(value)  # plain values, with the surrogates that others mend
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return to_json(value, inf_nan_mode="strings", fallback=fallback).decode()
    except ValueError as error:
        if "utf-8" not in str(error):
            raise
        return to_json(value, inf_nan_mode="strings", fallback=fallback, bytes_mode="base64").decode()


def _beginning(value: Any, fallback: Any) -> str:
    """As much of the JSON as may be wanted, written piece by piece; the whole where that way doesn't know a value."""
    try:
        return "".join(_pieces(value, fallback))
    except (TypeError, ValueError, RecursionError):
        return _whole(value, fallback)


def _pieces(value: Any, fallback: Any) -> Iterator[str]:

    def plain(found: Any) -> Any:
        if isinstance(found, Iterator):
            raise _endless(found)
        return to_jsonable_python(found, inf_nan_mode="strings", fallback=fallback)

    left = MAX_CHARACTERS
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=plain)
    for piece in encoder.iterencode(value):
        yield piece
        left -= len(piece)
        if left < 0:
            return
