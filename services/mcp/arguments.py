"""Checks the arguments of a call against the tool's schema before the call is made.

The check helps the model, since the server checks for itself. The schema comes from the server. If it can't be used, or
if the check could take long, no errors are reported: jsonschema-rs has no deadline, follows a reference again at each
place, and takes about 20 µs for each error, even for those that aren't read.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from jsonschema_rs import RegexOptions, ValidationError, validator_for

from json_codec.text import dumps
from services.mcp.schemas import target_of

MAX_WORK = 2000  # parts of the schema times values of the arguments: about 40 ms if each of them is an error
MAX_PATTERNS = 20  # compiling one takes 3 ms at most
LINEAR = RegexOptions(size_limit=64 * 1024, dfa_size_limit=64 * 1024)  # no backtracking, so no lookaround
VALUES_PER_PART = 32  # of an enumeration: comparing them takes as long as checking one part
CHARACTERS_PER_VALUE = 1024  # of a text: matching them takes as long as checking one value
LOCAL_REFERENCE = re.compile(r"#(/[\w.$-]+)+")
REBASING = ("$id", "id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef")
"""Keywords that change the target of a `$ref`."""

MAX_ERRORS = 5
MAX_CHARACTERS = 300  # of one error


def validation_errors(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """Return a line for each of the first few errors in the arguments.

    There are none if the schema can't be used, or if the check could take long.
    """
    try:
        if _PartCounter(schema).count(schema) * _count_values(arguments) > MAX_WORK:
            return []
        validator = validator_for(dict(schema), offline=True, pattern_options=LINEAR)
        errors = [error for error in validator.iter_errors(arguments) if not _may_be_null(error)]
    except (ValueError, TypeError):  # the schema is invalid, of an unknown version, or refers to another document
        return []
    return list(islice((line for error in errors for line in _lines(error)), MAX_ERRORS))


class _PartCounter:
    """Counts the parts of a schema. The parts behind a reference count at each reference.

    Raises ValueError for a schema that contains itself, has too many patterns, or refers to another document.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._counts: dict[str, int | None] = {}  # by reference; None while it is counted
        self._patterns = 0

    def count(self, schema: Any) -> int:
        """Return the number of parts."""
        if isinstance(schema, list):
            return len(schema) // VALUES_PER_PART + sum(map(self.count, schema))
        if not isinstance(schema, Mapping):
            return 0
        if any(isinstance(schema.get(name), str) for name in REBASING):
            raise ValueError("references may have another base")
        self._count_patterns(schema)
        reference = schema.get("$ref")
        referenced = self._count_referenced(reference) if isinstance(reference, str) else 0
        return 1 + referenced + sum(map(self.count, schema.values()))

    def _count_patterns(self, schema: Mapping[str, Any]) -> None:
        named = schema.get("patternProperties")
        self._patterns += isinstance(schema.get("pattern"), str) + (len(named) if isinstance(named, Mapping) else 0)
        if self._patterns > MAX_PATTERNS:
            raise ValueError("too many patterns")

    def _count_referenced(self, reference: str) -> int:
        if reference not in self._counts:
            target = target_of(self._document, reference) if LOCAL_REFERENCE.fullmatch(reference) else None
            if not isinstance(target, Mapping):
                raise ValueError("the reference has no target in this document")
            self._counts[reference] = None
            self._counts[reference] = self.count(target)
        if (parts := self._counts[reference]) is None:
            raise ValueError("the schema contains itself")
        return parts


def _count_values(value: Any) -> int:
    if isinstance(value, Mapping):
        return 1 + sum(map(_count_values, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_count_values, value))
    return 1 + (len(value) // CHARACTERS_PER_VALUE if isinstance(value, str) else 0)


def _may_be_null(error: ValidationError) -> bool:
    """Return whether the error is about null: OpenAPI's `nullable`, unknown to JSON Schema, may allow it."""
    return error.kind.name == "type" and error.instance is None


def _lines(error: ValidationError) -> list[str]:
    """Describe an error by the path of the value and the schema's constraint.

    The value itself isn't quoted: it may be long or secret.
    """
    path, kind = list(map(str, error.instance_path)), error.kind
    match kind.name:
        case "required":
            return [_line([*path, kind.value], "is required")]
        case "additionalProperties" | "unevaluatedProperties":
            return [_line([*path, name], "is not allowed here") for name in kind.value]
        case "type":
            return [_line(path, f"must be of type {' or '.join(kind.value)}")]
        case "falseSchema":
            return [_line(path, "is not allowed here")]
        case "enum":
            return [_line(path, f"must be one of {dumps(kind.value)}")]
        case _:
            return [_line(path, f"must match {_constraint(error)}")]


def _constraint(error: ValidationError) -> str:
    """Describe the keyword that the value doesn't match, and its value in the schema."""
    try:
        return dumps({error.kind.name: error.kind.value})
    except (TypeError, ValueError):  # a union has the errors of each alternative as its value
        alternatives = "; ".join(line for each in _alternatives(error) for line in _lines(each))
        return f"{error.kind.name}: {alternatives}" if alternatives else error.kind.name


def _alternatives(error: ValidationError) -> list[ValidationError]:
    """Return the first error of each alternative of a union."""
    errors = error.kind.value
    return [each[0] for each in errors if isinstance(each, list) and each] if isinstance(errors, list) else []


def _line(path: list[str], problem: str) -> str:
    line = f"{'.'.join(path) or 'the arguments'}: {problem}"
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}…"
