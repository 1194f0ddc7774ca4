"""Describes what is wrong with a call's arguments, so that a model can correct them.

The texts mention neither Python nor pydantic, whose terms would only confuse a model.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from json_codec.text import dumps

MAX_LINES = 20
MAX_SCHEMA = 500  # characters of an argument's schema that is added to its error
UNKNOWN_TYPES = ("extra_forbidden", "unexpected_keyword_argument")
PREFIXES = ("Value error, ", "Assertion failed, ")


def describe_errors(error: ValidationError, arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """Return a line for each error: where it is, what is wrong, and the schema of that argument.

    Several branches of a union can fail in the same way, so equal lines are joined.
    """
    errors = error.errors(include_url=False, include_input=False)
    lines = list(dict.fromkeys(_line(each, arguments, parameters) for each in errors))
    more = [f"- and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    return "\n".join(["The arguments are not valid:", *lines[:MAX_LINES], *more])


def _line(error: ErrorDetails, arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    path = list(_path(error, arguments))
    name = ".".join(map(str, path)) or "arguments"
    if error["type"] in UNKNOWN_TYPES:
        return f"- {name}: not known here{_known_names(parameters) if len(path) == 1 else ''}"
    message = "missing" if error["type"] == "missing" else error["msg"]
    for prefix in PREFIXES:
        message = message.removeprefix(prefix)
    return f"- {name}: {message}{_schema(path, parameters)}"


def _known_names(parameters: Mapping[str, Any]) -> str:
    names = ", ".join(parameters["properties"])
    return f"; the arguments are {names}" if names else "; there are none"


def _path(error: ErrorDetails, arguments: Any) -> Iterator[str | int]:
    """Return the path to an error, without the branches of a union, which pydantic adds to its location."""
    value = arguments
    for position, part in enumerate(error["loc"]):
        is_key = isinstance(value, Mapping) and part in value
        is_index = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if is_key or is_index:
            value = value[part]
            yield part
        elif error["type"] == "missing" and position == len(error["loc"]) - 1:
            yield part


def _schema(path: list[str | int], parameters: Mapping[str, Any]) -> str:
    """Return the argument's schema, unless it is long."""
    expected = parameters["properties"].get(path[0]) if path else None
    if not expected:
        return ""
    name = str(expected.get("$ref", "")).rpartition("/")[2]
    text = dumps(parameters["$defs"][name] if name else expected)
    return f" (the schema of {path[0]}: {text})" if len(text) <= MAX_SCHEMA else ""
