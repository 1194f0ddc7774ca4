"""Finds the JSON values in a text that has other words around them."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from json_codec.text import loads_exactly, value_at

BRACKET = re.compile(r"[\[\]{}]")
QUOTE = re.compile("[\"']")
FENCE = "```"
MAX_BROKEN = 50  # brackets that begin no JSON value: each may be read up to the end of the text


class Found(NamedTuple):
    """A JSON value, and its part of the text."""

    value: Any
    written: str


def values_among(text: str) -> list[Found]:
    """Return the text's value if the text is JSON, maybe in a code fence. Else return the objects and arrays in it,
    and the other values that are alone in a code fence.

    Raise ValueError, with a message for whoever wrote the text, if a part looks like JSON that is broken: then a value
    next to it or inside of it may be only a piece of the one that was meant.
    """
    bare = _unfenced(text.strip().removeprefix("\ufeff"))
    try:
        return [Found(loads_exactly(bare), bare)]
    except (ValueError, RecursionError) as error:
        found = [*_containers(text), *_fenced_scalars(text)]
        if not found:
            raise ValueError(_problem(error)) from None
        return found


def _unfenced(text: str) -> str:
    """Return the text without the code fence around it, if it has one."""
    if not (text.startswith(FENCE) and text.endswith(FENCE)):
        return text
    _, _, fenced = text.partition("\n")
    return fenced.removesuffix(FENCE)


def _containers(text: str) -> Iterator[Found]:
    """Yield the objects and arrays that are outside of each other. Raise ValueError as `values_among` does."""
    at = broken = 0
    while bracket := BRACKET.search(text, at):
        at = bracket.start()
        if bracket[0] in "]}":
            raise ValueError(f"there is a {bracket[0]} that closes nothing")
        try:
            value, written, at = value_at(text, at)
        except (ValueError, RecursionError) as error:
            at, broken = _past_words(text, at, error), broken + 1
            if broken > MAX_BROKEN:
                raise ValueError("there is too much text around the JSON") from None
        else:
            yield Found(value, written)


def _fenced_scalars(text: str) -> Iterator[Found]:
    """Yield the texts, numbers and words of JSON that are alone in a code fence."""
    for fenced in text.split(FENCE)[1::2]:
        _, _, written = fenced.partition("\n")
        try:
            value = loads_exactly(written)
        except (ValueError, RecursionError):
            continue
        if not isinstance(value, dict | list):
            yield Found(value, written)


def _past_words(text: str, at: int, error: Exception) -> int:
    """Return the end of words in brackets, such as [1, see below]. Raise ValueError if they look like broken JSON."""
    depth = 0
    for bracket in BRACKET.finditer(text, at):
        depth += 1 if bracket[0] in "[{" else -1
        if not depth:
            if QUOTE.search(text, at, bracket.end()):
                break
            return bracket.end()
    raise ValueError(_problem(error)) from None


def _problem(error: Exception) -> str:
    """Describe why a text isn't JSON, without quoting it."""
    match error:
        case json.JSONDecodeError():
            return f"it is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        case RecursionError():
            return "its JSON nests too deep"
        case _:
            return "its JSON has a number that JSON doesn't allow"
