"""Arguments checked against a JSON schema that somebody else wrote, in a time that is bounded whatever they wrote."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]
from jsonschema.exceptions import UnknownType  # type: ignore[import-untyped]
from jsonschema.validators import extend  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable

from services.json_text import dumps

CHECK_S = 0.05
MAX_FAULTS = 5
MAX_CHARACTERS = 300  # of one fault
NAMES_ONLY = ("required", "additionalProperties", "dependentRequired")  # whose messages have no values

UNCHECKED = ("pattern", "patternProperties", "uniqueItems", "unevaluatedProperties", "unevaluatedItems")
"""What can take for ever: patterns, and what looks at everything again."""
REFERENCES = ("$ref", "$dynamicRef")

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
deadline: ContextVar[float] = ContextVar("deadline")


class _TooLong(Exception):
    """The check takes longer than it may."""


UNREADABLE = (
    _TooLong,
    RecursionError,
    UnknownType,
    Unresolvable,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What a schema raises that is none, or too much of one."""


def faults(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments, the first few faults. None where the schema can't be followed.

    It is a help for the model: the server checks for itself.
    """
    deadline.set(time.monotonic() + CHECK_S)
    try:
        validator = Checker(_plain(schema), registry=Registry())  # which fetches nothing
        return [_told(error) for error in islice(validator.iter_errors(arguments), MAX_FAULTS)]
    except UNREADABLE:
        return []


def _plain(schema: Any) -> Any:
    """The schema without a choice of another dialect, which would bring its own rules."""
    match schema:
        case Mapping():
            return {k: _plain(v) for k, v in schema.items() if not (k == "$schema" and isinstance(v, str))}
        case list():
            return [_plain(part) for part in schema]
        case _:
            return schema


def _nothing(validator: Any, value: Any, instance: Any, schema: Any) -> None:
    """A keyword that isn't looked at."""


def _in_time(keyword: Keyword) -> Keyword:
    """References are what makes a small schema a large one."""

    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        if time.monotonic() > deadline.get():
            raise _TooLong
        return keyword(validator, value, instance, schema)

    return checked


def _without_patterns(keyword: Keyword) -> Keyword:
    """Which properties are additional depends on `patternProperties`."""

    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        return None if "patternProperties" in schema else keyword(validator, value, instance, schema)

    return checked


STANDARD: Mapping[str, Keyword] = Draft202012Validator.VALIDATORS
Checker = extend(
    Draft202012Validator,
    {
        **dict.fromkeys(UNCHECKED, _nothing),
        **{name: _in_time(STANDARD[name]) for name in REFERENCES},
        "additionalProperties": _without_patterns(STANDARD["additionalProperties"]),
    },
)


def _told(error: ValidationError) -> str:
    """Where, and what the schema wants there; not the value, which may be long, or secret."""
    place = ".".join(map(str, error.absolute_path))
    wanted = f"it has to fit {dumps({error.validator: error.validator_value})}"
    message = error.message if error.validator in NAMES_ONLY else wanted
    message = message if len(message) <= MAX_CHARACTERS else f"{message[:MAX_CHARACTERS]}…"
    return f"{place}: {message}" if place else message
