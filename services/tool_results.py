"""What a tool gives, as the text that a model reads: text as it is, anything else as JSON, or a clear error."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from pydantic_core import to_json

from services.json_text import dumps
from services.tools import ToolError

ENDLESS = ("Circular reference", "depth exceeded")  # as pydantic says it


def as_text(value: Any) -> str:
    """Text as it is, another value as compact JSON; None is `null`, and NaN, which JSON doesn't have, `"NaN"`.

    Models, dataclasses, dates, decimals, enums, sets, paths and the like are written as pydantic writes them. Bytes are
    their text if they are UTF-8, else `{"base64": …}`. Raise `ToolError` for what is no JSON, or has no end.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return _text_of_bytes(bytes(value))
    if isinstance(value, Iterator):
        raise ToolError(f"The tool's result is a {type(value).__name__}, which may have no end: return a list.")
    try:
        return dumps(value)  # the plain values, with surrogates that others mend
    except (TypeError, ValueError, RecursionError):
        return _as_json(value)


def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return to_json({"base64": value}, bytes_mode="base64").decode()


def _as_json(value: Any) -> str:
    strange: list[str] = []

    def fallback(found: Any) -> Any:
        if isinstance(found, Mapping):
            return dict(found)
        if isinstance(found, PurePath):
            return str(found)
        strange.append(type(found).__name__)
        raise TypeError

    try:
        return _written(value, fallback)
    except (TypeError, ValueError, RecursionError) as error:
        if strange:
            raise ToolError(f"The tool's result is not JSON: it holds a {strange[0]}.") from None
        if isinstance(error, RecursionError) or any(said in str(error) for said in ENDLESS):
            raise ToolError("The tool's result is not JSON: it holds itself, or is nested too deep.") from None
        raise ToolError("The tool's result could not be written as JSON.") from error


def _written(value: Any, fallback: Any) -> str:
    try:
        return to_json(value, inf_nan_mode="strings", fallback=fallback).decode()
    except ValueError as error:
        if "utf-8" not in str(error):
            raise
        return to_json(value, inf_nan_mode="strings", fallback=fallback, bytes_mode="base64").decode()
