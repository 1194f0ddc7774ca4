"""What the text of a tool call's arguments means, which servers don't always send once and whole. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from json_codec.scan import JsonLimits, JsonTooLarge, scan
from json_codec.text import loads_exactly, values_in

LIMITS = JsonLimits(values=20_000, depth=64)
"""What takes longer to read than a stream can stand still, or nests deeper than others can be counted on to read."""
MAX_REPEATED = 16  # JSON values in one text: a server that repeats the arguments does so once or twice
NOTHING = (None, "")
"""What servers send in place of `{}`, where the arguments are still to come, or where the tool takes none."""


class Arguments(NamedTuple):
    """A call's arguments, and the text that goes back to the server: as it came, wherever that was a JSON object.

    `invalid` is all that came, where no object can be read from it.
    """

    value: dict[str, Any]
    text: str = "{}"
    invalid: str | None = None


def read_arguments(pieces: Sequence[str]) -> Arguments:
    """Read a call's arguments from the pieces in which they came.

    * One JSON object is the arguments. Blank text, `null` and `""` mean that there are none.
    * Of several JSON values, one after another, `{}`, `null`, `""` and repetitions are left out: Bedrock begins with
      `{}` (openai-agents-js#712), Cerebras ends with the whole arguments again (elizaOS/eliza#9766). If one object is
      left, it is the arguments.
    * Where the text is no JSON, the last piece is the arguments if it is an object and begins with all that came
      before, or with each piece of it: Qianfan sends all arguments so far in each piece (hermes-agent#35718).
    * A JSON string that holds an object means that object (quarkus-langchain4j#2569).
    * Everything else is invalid, and so is what passes `LIMITS`.
    """
    text = "".join(pieces)
    try:
        scan(text.encode("utf-8", "replace"), LIMITS)
    except JsonTooLarge:
        return Arguments({}, invalid=text)
    return _object_in(text) or _snapshot(pieces) or Arguments({}, invalid=text)


def _object_in(text: str) -> Arguments | None:
    """The one object that a text of JSON values holds, or none of them, if each means nothing."""
    meant = Arguments({})
    try:
        for value, written in values_in(text, MAX_REPEATED):
            read = _content(value, written)
            if read.value and meant.value not in ({}, read.value):
                return None
            meant = meant if meant.value else read
    except (ValueError, RecursionError):
        return None
    return meant


def _content(value: Any, written: str) -> Arguments:
    """What one JSON value means. Raise ValueError for what means no arguments."""
    if isinstance(value, str) and value:
        value, written = loads_exactly(value), value
    if isinstance(value, dict):
        return Arguments(value, written)
    if value in NOTHING:
        return Arguments({})
    raise ValueError("no JSON object")


def _snapshot(pieces: Sequence[str]) -> Arguments | None:
    """The last piece as the arguments, where it repeats what came before it."""
    *before, last = pieces
    if last.startswith("".join(before)) or all(map(last.startswith, before)):
        return _object_in(last)
    return None
