"""Asks a model for an answer that matches a JSON Schema: by its server's strict mode, or in the instructions.

The strict mode accepts a part of JSON Schema only (https://platform.openai.com/docs/guides/structured-outputs, section
"Supported schemas"). A schema outside of that part is sent in the instructions. The answer is checked in either case.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from json_codec.text import dumps
from setting_objects import WireRules

Json = Mapping[str, Any]

NAME = "final_answer"
"""The name of the schema on the wire. It marks a `response_format` as made by this service, not by the caller."""
INSTRUCTIONS = (
    "Your final answer has to be one JSON value that matches the JSON Schema below. Write only the JSON, without any "
    "other text and without a code fence."
)
SYSTEM_ROLES = ("system", "developer")

CONSTRAINTS = frozenset(
    (
        *("type", "enum", "const", "pattern", "format", "minLength", "maxLength", "minItems", "maxItems"),
        *("multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    )
)
"""The keywords that the strict mode accepts, beside those that hold schemas."""
ANNOTATIONS = frozenset(("title", "description"))
UNSENT = frozenset(("$schema", "$id", "$comment", "default", "examples", "deprecated", "readOnly", "writeOnly"))
"""Keywords without an effect on the check. The strict mode refuses them, so they are left out."""


class _NotStrict(ValueError):
    """The strict mode doesn't accept the schema."""


def with_answer_schema(body: Json, rules: WireRules) -> dict[str, Any]:
    """Return the request with its `output_schema` in the form that the server accepts."""
    sent = dict(body)
    schema = sent.pop("output_schema", None)
    if schema is None:
        return sent
    has_tools = "tools" in sent or "mcp_servers" in sent
    is_enforced = rules.json_schema == "always" or (rules.json_schema == "without_tools" and not has_tools)
    if is_enforced and (strict := strict_form(schema)) is not None:
        json_schema = {"name": NAME, "schema": strict, "strict": True}
        return sent | {"response_format": {"type": "json_schema", "json_schema": json_schema}}
    return sent | {"messages": _instructed(sent["messages"], f"{INSTRUCTIONS}\n\n{dumps(schema)}")}


def is_strict(sent: Json) -> bool:
    """Return whether a sent request has a `response_format` that this service has made of an `output_schema`."""
    match sent.get("response_format"):
        case {"type": "json_schema", "json_schema": {"name": name}}:
            return bool(name == NAME)
        case _:
            return False


def _instructed(messages: Sequence[Json], text: str) -> list[Json]:
    """Add a text to the last of the first system messages: a place that stays the same from turn to turn.

    It isn't a message of its own, because some chat templates accept only one.
    """
    count = next((i for i, message in enumerate(messages) if message["role"] not in SYSTEM_ROLES), len(messages))
    if not count:
        return [{"role": "system", "content": text}, *messages]
    last = messages[count - 1]
    content = last["content"]
    joined = f"{content}\n\n{text}" if isinstance(content, str) else [*content, {"type": "text", "text": text}]
    return [*messages[: count - 1], {**last, "content": joined}, *messages[count:]]


def strict_form(schema: Json) -> dict[str, Any] | None:
    """Return the schema in the form of the strict mode, None if it has none.

    Every value that matches this form matches the schema. Objects that allow further properties without describing
    them allow none in this form.
    """
    if schema.get("type") != "object":
        return None
    try:
        return _strict(schema)
    except _NotStrict:
        return None


def _strict(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise _NotStrict
    if "$ref" in schema:
        return _strict_reference(schema)
    strict: dict[str, Any] = {}
    for keyword, value in schema.items():
        match keyword, value:
            case (("properties" | "$defs" | "definitions"), {**parts}):
                strict[keyword] = {name: _strict(part) for name, part in parts.items()}
            case "items", _:
                strict[keyword] = _strict(value)
            case "anyOf", [*parts]:
                strict[keyword] = [_strict(part) for part in parts]
            case (("required" | "additionalProperties"), _):
                strict[keyword] = value
            case _ if keyword in CONSTRAINTS or keyword in ANNOTATIONS:
                strict[keyword] = value
            case _ if keyword not in UNSENT:
                raise _NotStrict
    return _closed(strict)


def _strict_reference(schema: Json) -> dict[str, Any]:
    """Return a reference alone: the strict mode refuses a keyword beside it."""
    if schema.keys() - {"$ref", "$defs", "definitions"} - ANNOTATIONS - UNSENT:
        raise _NotStrict
    return {"$ref": schema["$ref"]}


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Close an object for further properties. Raise `_NotStrict` if a part is open in another way."""
    declared = schema.get("type")
    types = declared if isinstance(declared, list) else [declared]
    if declared is None and "anyOf" not in schema:
        raise _NotStrict
    if "array" in types and "items" not in schema:
        raise _NotStrict
    if "object" not in types:
        return schema
    properties = schema.get("properties", {})
    if not properties or set(properties) != set(schema.get("required", ())):
        raise _NotStrict
    if schema.get("additionalProperties") not in (None, False):
        raise _NotStrict
    return schema | {"additionalProperties": False}
