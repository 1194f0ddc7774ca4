"""What is wrong with a call's arguments, told so that a model can mend them: nothing of Python, nothing of pydantic."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from json_codec.text import dumps

MAX_FAULTS = 20  # told at once
MAX_SCHEMA = 500  # characters of a schema that is told with a fault
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
PREFIXES = ("Value error, ", "Assertion failed, ")


def told_faults(error: ValidationError, arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """Each fault on a line: where it is, what is wrong there, and what the schema says of that argument."""
    faults = error.errors(include_url=False, include_input=False)
    lines = list(dict.fromkeys(_line(fault, arguments, parameters) for fault in faults))
    more = [f"- and {len(lines) - MAX_FAULTS} more"] if len(lines) > MAX_FAULTS else []
    return "\n".join(["The arguments are not valid:", *lines[:MAX_FAULTS], *more])


def _line(fault: ErrorDetails, arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    path = list(_path(fault, arguments))
    said = ".".join(map(str, path)) or "arguments"
    if fault["type"] in UNKNOWN:
        known = ", ".join(parameters["properties"])
        there = f"the arguments are {known}" if known else "there are none"
        return f"- {said}: not known here{f'; {there}' if len(path) == 1 else ''}"
    message = "missing" if fault["type"] == "missing" else fault["msg"]
    for prefix in PREFIXES:
        message = message.removeprefix(prefix)
    return f"- {said}: {message}{_schema(path, parameters)}"


def _path(fault: ErrorDetails, arguments: Any) -> Iterator[str | int]:
    """Where a fault is, without the branches of a union, which pydantic names in between."""
    value = arguments
    for position, part in enumerate(fault["loc"]):
        is_key = isinstance(value, Mapping) and part in value
        is_place = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if is_key or is_place:
            value = value[part]
            yield part
        elif fault["type"] == "missing" and position == len(fault["loc"]) - 1:
            yield part


def _schema(path: list[str | int], parameters: Mapping[str, Any]) -> str:
    """What the schema says of the argument, where that is short."""
    expected = parameters["properties"].get(path[0]) if path else None
    if not expected:
        return ""
    name = str(expected.get("$ref", "")).rpartition("/")[2]
    text = dumps(parameters["$defs"][name] if name else expected)
    return f" (the schema of {path[0]}: {text})" if len(text) <= MAX_SCHEMA else ""
