"""Checks a call's arguments against the tool's schema, which somebody else wrote, before the call is made.

The check is a help for the model, since the server checks for itself. So it finds nothing where a schema can't be used,
and where the check could take long: jsonschema-rs has no deadline, follows references again at each place, and takes
some 20 µs for each fault, whether it is asked for or not.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from jsonschema_rs import RegexOptions, ValidationError, validator_for

from json_codec.text import dumps
from services.mcp.schemas import target_of

MAX_WORK = 2000  # parts of a schema times values of the arguments: some 40 ms if each of them is a fault
MAX_PATTERNS = 20  # compiling one takes 3 ms at most
LINEAR = RegexOptions(size_limit=64 * 1024, dfa_size_limit=64 * 1024)  # without backtracking, and so without lookaround
LISTED = 32  # values of an enumeration that are compared in the time of a part
CHARACTERS = 1024  # of a text that patterns look through in the time of a value
LOCAL = re.compile(r"#(/[\w.$-]+)+")
ELSEWHERE = (
    "$id",
    "id",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
)  # what changes where a $ref leads

MAX_FAULTS = 5
MAX_CHARACTERS = 300  # of one fault


def faults(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments, the first few faults. None where the schema can't be used, or not quickly."""
    try:
        if _Parts(schema).of(schema) * _values(arguments) > MAX_WORK:
            return []
        validator = validator_for(dict(schema), offline=True, pattern_options=LINEAR)
        found = [error for error in validator.iter_errors(arguments) if not _may_be_null(error)]
    except (ValueError, TypeError):  # a schema that is none, is in no known version, or is elsewhere
        return []
    return list(islice((line for error in found for line in _lines(error)), MAX_FAULTS))


class _Parts:
    """Counts the parts of a schema, those behind each reference included.

    Raise ValueError for a schema that is within itself, has too many patterns, or has references of another kind.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._behind: dict[str, int | None] = {}  # None: being counted
        self._patterns = 0

    def of(self, schema: Any) -> int:
        """How many there are."""
        if isinstance(schema, list):
            return len(schema) // LISTED + sum(map(self.of, schema))
        if not isinstance(schema, Mapping):
            return 0
        if any(isinstance(schema.get(name), str) for name in ELSEWHERE):
            raise ValueError("references may lead elsewhere")
        self._count_patterns(schema)
        reference = schema.get("$ref")
        behind = self._behind_reference(reference) if isinstance(reference, str) else 0
        return 1 + behind + sum(map(self.of, schema.values()))

    def _count_patterns(self, schema: Mapping[str, Any]) -> None:
        named = schema.get("patternProperties")
        self._patterns += isinstance(schema.get("pattern"), str) + (len(named) if isinstance(named, Mapping) else 0)
        if self._patterns > MAX_PATTERNS:
            raise ValueError("too many patterns")

    def _behind_reference(self, reference: str) -> int:
        if reference not in self._behind:
            target = target_of(self._document, reference) if LOCAL.fullmatch(reference) else None
            if not isinstance(target, Mapping):
                raise ValueError("the reference leads elsewhere, or nowhere")
            self._behind[reference] = None
            self._behind[reference] = self.of(target)
        if (parts := self._behind[reference]) is None:
            raise ValueError("the schema is within itself")
        return parts


def _values(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + sum(map(_values, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_values, value))
    return 1 + (len(value) // CHARACTERS if isinstance(value, str) else 0)


def _may_be_null(error: ValidationError) -> bool:
    """Whether null is at fault: OpenAPI's `nullable`, which JSON Schema doesn't know, may allow it."""
    return error.kind.name == "type" and error.instance is None


def _lines(error: ValidationError) -> list[str]:
    """Where, and what the schema wants there; not the value, which may be long, or secret."""
    place, kind = list(map(str, error.instance_path)), error.kind
    match kind.name:
        case "required":
            return [_line([*place, kind.value], "is required")]
        case "additionalProperties" | "unevaluatedProperties":
            return [_line([*place, name], "is not known here") for name in kind.value]
        case "type":
            return [_line(place, f"has to be of type {' or '.join(kind.value)}")]
        case "falseSchema":
            return [_line(place, "is not known here")]
        case "enum":
            return [_line(place, f"has to be one of {dumps(kind.value)}")]
        case _:
            return [_line(place, f"has to fit {_wanted(error)}")]


def _wanted(error: ValidationError) -> str:
    """The keyword that the value doesn't fit, and what the schema says there."""
    try:
        return dumps({error.kind.name: error.kind.value})
    except (TypeError, ValueError):  # such as the faults of each alternative
        alternatives = "; ".join(line for each in _alternatives(error) for line in _lines(each))
        return f"{error.kind.name}: {alternatives}" if alternatives else error.kind.name


def _alternatives(error: ValidationError) -> list[ValidationError]:
    """The first fault of each alternative of a union."""
    given = error.kind.value
    return [each[0] for each in given if isinstance(each, list) and each] if isinstance(given, list) else []


def _line(place: list[str], wanted: str) -> str:
    line = f"{'.'.join(place) or 'the arguments'}: {wanted}"
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}…"
