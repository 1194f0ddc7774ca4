"""Reads the text of a tool call's arguments, which some servers repeat or send in parts. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from json_codec.scan import JsonLimits, JsonTooLarge, scan
from json_codec.text import loads_exactly, values_in

LIMITS = JsonLimits(values=20_000, depth=64)
"""Beyond these, parsing blocks the other streams too long, or nests deeper than other parsers are sure to read."""
MAX_REPEATED = 16  # JSON values in one text: a server that repeats the arguments does so once or twice
NO_ARGUMENTS = (None, "")
"""Values that servers send for `{}`: before the arguments arrive, or for a tool without any."""


class Arguments(NamedTuple):
    """A call's arguments, and the text to send back to the server: its own text, if that was a JSON object.

    `invalid` is all the text that arrived, if no object can be read from it.
    """

    value: dict[str, Any]
    text: str = "{}"
    invalid: str | None = None


def read_arguments(pieces: Sequence[str]) -> Arguments:
    """Read a call's arguments from the pieces in which they arrived.

    * One JSON object is the arguments. Blank text, `null` and `""` mean that there are none.
    * Of several JSON values, one after another, `{}`, `null`, `""` and repetitions are left out: Bedrock begins with
      `{}` (openai-agents-js#712), Cerebras ends with the whole arguments again (elizaOS/eliza#9766). If one object is
      left, it is the arguments.
    * If the text is not JSON, the last piece is the arguments if it is an object and begins with all the text before
      it, or with each earlier piece: Qianfan sends all arguments so far in each piece (hermes-agent#35718).
    * A JSON string that holds an object means that object (quarkus-langchain4j#2569).
    * Everything else is invalid, and so is a text beyond `LIMITS`.
    """
    text = "".join(pieces)
    try:
        scan(text.encode("utf-8", "replace"), LIMITS)
    except JsonTooLarge:
        return Arguments({}, invalid=text)
    return _object_in(text) or _snapshot(pieces) or Arguments({}, invalid=text)


def _object_in(text: str) -> Arguments | None:
    """Return the one object in a text of JSON values, or empty arguments if each value means none.

    None if the text holds something else, or different objects.
    """
    found = Arguments({})
    try:
        for value, written in values_in(text, MAX_REPEATED):
            arguments = _meaning(value, written)
            if arguments.value and found.value not in ({}, arguments.value):
                return None
            found = found if found.value else arguments
    except (ValueError, RecursionError):
        return None
    return found


def _meaning(value: Any, written: str) -> Arguments:
    """Return the arguments that one JSON value means. Raise ValueError if it can't be arguments."""
    if isinstance(value, str) and value:
        value, written = loads_exactly(value), value
    if isinstance(value, dict):
        return Arguments(value, written)
    if value in NO_ARGUMENTS:
        return Arguments({})
    raise ValueError("not a JSON object")


def _snapshot(pieces: Sequence[str]) -> Arguments | None:
    """Return the last piece as the arguments, if it repeats the pieces before it."""
    *before, last = pieces
    if last.startswith("".join(before)) or all(map(last.startswith, before)):
        return _object_in(last)
    return None
