"""Validates schemas, and values against them, with jsonschema-rs, and describes the errors.

An error is described by the path of the value and the schema's constraint. The value itself isn't quoted: it may be
long or secret.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from jsonschema_rs import RegexOptions, ValidationError, meta, validator_for

from json_codec.text import dumps
from json_schema.outline import Schema, UnusableSchema, check_outline
from json_schema.work import steps

MOST_STEPS = 2000  # of a check that collects every error: about 40 ms if each step is an error
LINEAR = RegexOptions(size_limit=64 * 1024, dfa_size_limit=64 * 1024)  # no backtracking, so no lookaround
DRAFTS = frozenset(
    (
        *(f"http://json-schema.org/draft-0{draft}/schema" for draft in (4, 6, 7)),
        *(f"https://json-schema.org/draft/{draft}/schema" for draft in ("2019-09", "2020-12")),
    )
)
"""The values of `$schema`, beside an empty fragment. For any other one, jsonschema-rs would ask the network."""
MAX_ERRORS = 5
MAX_CHARACTERS = 300  # of one error


def check_schema(schema: Schema) -> None:
    """Raise `UnusableSchema` if a schema is invalid, refers to something outside of it, or can't be checked.

    A root's `$id` is only its name, and changes nothing.
    """
    schema = _without_name(schema)
    draft = schema.get("$schema", "")
    if draft and (not isinstance(draft, str) or draft.removesuffix("#") not in DRAFTS):
        raise UnusableSchema(("$schema",), "is not supported: use draft 4, 6, 7, 2019-09 or 2020-12")
    try:
        meta.validate(schema)
    except ValidationError as error:
        raise UnusableSchema(tuple(map(str, error.instance_path)), _problem(error)) from None
    check_outline(schema)
    try:
        _validator(schema)
    except ValidationError as error:
        problem = "is not valid here: a pattern must be linear, without lookaround and backreferences"
        raise UnusableSchema(tuple(map(str, error.instance_path)), problem) from None


def faults(schema: Schema, value: Any, name: str, most_steps: int) -> list[str]:
    """Return a line for each of the first few errors of a value. `name` is what the lines call the value.

    If the check takes more than `MOST_STEPS`, there is one line at most. The schema has passed `check_schema`. Raise
    `TooMuchWork` if the check takes more than `most_steps`.
    """
    schema = _without_name(schema)
    needed = steps(schema, value, most_steps)
    validator = _validator(schema)
    if validator.is_valid(value):
        return []
    if needed <= MOST_STEPS:
        return described(validator.iter_errors(value), name)
    try:
        validator.validate(value)
    except ValidationError as error:
        return described([error], name)
    return []


def errors(schema: Schema, value: Any) -> Sequence[ValidationError]:
    """Return all errors of a value.

    Raise ValueError if the schema is unusable or the check takes more than `MOST_STEPS`.
    """
    check_outline(schema)
    steps(schema, value, MOST_STEPS)
    return list(_validator(schema).iter_errors(value))


def may_be_null(error: ValidationError) -> bool:
    """Return whether the error is about null: OpenAPI's `nullable`, unknown to JSON Schema, may allow it."""
    return error.kind.name == "type" and error.instance is None


def described(found: Iterator[ValidationError] | Sequence[ValidationError], name: str) -> list[str]:
    """Return a line for each of the first few errors. `name` is what the lines call the whole value."""
    lines = (line for error in found for line in _lines(error, name))
    return list(islice(lines, MAX_ERRORS))


def _without_name(schema: Schema) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key not in {"$id", "id"} or isinstance(value, Mapping)}


def _validator(schema: Schema) -> Any:
    return validator_for(dict(schema), offline=True, pattern_options=LINEAR, validate_formats=False)


def _lines(error: ValidationError, name: str) -> list[str]:
    path, kind = list(map(str, error.instance_path)), error.kind
    match kind.name:
        case "required":
            return [_line([*path, kind.value], "is required", name)]
        case "additionalProperties" | "unevaluatedProperties":
            return [_line([*path, each], "is not allowed here", name) for each in kind.value]
        case _:
            return [_line(path, _problem(error), name)]


def _problem(error: ValidationError) -> str:
    kind = error.kind
    match kind.name:
        case "type":
            return f"must be of type {' or '.join(kind.value)}"
        case "falseSchema":
            return "is not allowed here"
        case "enum":
            return f"must be one of {dumps(kind.value)}"
        case _:
            return f"must match {_constraint(error)}"


def _constraint(error: ValidationError) -> str:
    """Describe the keyword that the value doesn't match, and its value in the schema."""
    try:
        return dumps({error.kind.name: error.kind.value})
    except (TypeError, ValueError):  # a union has the errors of each alternative as its value
        alternatives = "; ".join(line for each in _alternatives(error) for line in _lines(each, "the value"))
        return f"{error.kind.name}: {alternatives}" if alternatives else error.kind.name


def _alternatives(error: ValidationError) -> list[ValidationError]:
    """Return the first error of each alternative of a union."""
    found = error.kind.value
    if not isinstance(found, list):
        return []
    return [errors[0] for errors in found if isinstance(errors, list) and errors]


def _line(path: list[str], problem: str, name: str) -> str:
    line = f"{'.'.join(path) or name}: {problem}"
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}…"
