"""A tool's input schema as a JSON schema whose root is a plain object, which every model's server takes.

Servers send roots that are missing (mastra#21859), `{}` (gitlab-mcp#286), a union (claude-code#88049, openclaw#112667)
or a reference (basemind#50), and `"required": null` (claude-code#44364). Anthropic and OpenAI refuse a request with one
such tool. Dropping a constraint does no harm: the MCP server checks the arguments itself.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from json_codec.text import dumps, too_deep

MAX_DEPTH = 64  # of a schema; deeper ones can't be counted on to be read by others
MAX_PARTS = 200  # schemas that one root is made of
ALTERNATIVES = ("anyOf", "oneOf")
REFUSED_AT_ROOT = frozenset({"$ref", "allOf", *ALTERNATIVES, "not", "enum", "const"})

NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})
NESTED = frozenset({"items", "prefixItems", "additionalProperties", "not", "allOf", *ALTERNATIVES})
KINDS = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
OTHER_NAMES = {"int": "integer", "float": "number", "double": "number", "bool": "boolean", "str": "string"}

Schema = dict[str, Any]


def as_object(schema: Any) -> Schema | None:
    """The schema with a plain object as its root. None where no object fits it, or where it can't be sent as JSON.

    Null, `true`, `{}` and `[]`, which is how PHP writes an empty object, allow any arguments: an object without
    properties. References at the root are resolved, and alternatives joined: their properties are those of all, and
    required is what each of them requires.
    """
    if schema is True or schema in (None, {}, []):
        return {"type": "object", "properties": {}}
    if not isinstance(schema, dict) or not _can_be_sent(schema):
        return None
    sound = _with_sound_parts(schema)
    return _Root(sound).flat(sound)


def _can_be_sent(schema: Schema) -> bool:
    try:
        return not too_deep(dumps(schema).encode("utf-8", "replace"), MAX_DEPTH)
    except ValueError:
        return False


def _with_sound_parts(schema: Schema) -> Schema:
    """The schema with the types of its parts in JSON Schema's words; models' servers refuse a request for one other."""
    made = dict(schema)
    for key in schema.keys() & NAMED:
        if isinstance(schema[key], dict):
            made[key] = {name: _sound_part(part) for name, part in schema[key].items()}
    for key in schema.keys() & NESTED:
        made[key] = _sound_part(schema[key])
    return made


def _sound_part(part: Any) -> Any:
    """`int` and `STRING` are known types, `any` is no type, and an array says what it holds."""
    if isinstance(part, list):
        return [_sound_part(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = _with_sound_parts(part)
    said = made.pop("type", None)
    kinds = [kind for each in (said if isinstance(said, list) else [said]) if (kind := _kind(each))]
    if kinds:
        made["type"] = kinds[0] if len(kinds) == 1 else kinds
    if "array" in kinds:
        made.setdefault("items", {})
    return made


def _kind(said: Any) -> str | None:
    name = said.lower() if isinstance(said, str) else ""
    return OTHER_NAMES.get(name, name if name in KINDS else None)


class _Root:
    """One root being made plain. It follows at most `MAX_PARTS` references and combinations, so it always ends."""

    def __init__(self, document: Schema) -> None:
        self._document = document
        self._left = MAX_PARTS

    def flat(self, schema: Any) -> Schema | None:
        """The schema as a plain object; None where no object fits it."""
        self._left -= 1
        if self._left < 0 or not isinstance(schema, dict) or not _takes_objects(schema):
            return None
        own = {key: value for key, value in schema.items() if key not in REFUSED_AT_ROOT}
        if not isinstance(own.get("$schema", ""), str):
            del own["$schema"]
        own |= {"type": "object", "properties": _properties(schema), "required": _required(schema)}
        together = [
            *([target_of(self._document, schema["$ref"])] if "$ref" in schema else []),
            *_listed(schema.get("allOf")),
        ]
        unions = [alternatives for key in ALTERNATIVES if (alternatives := _listed(schema.get(key)))]
        parts = [own, *map(self.flat, together), *map(self._either, unions)]
        return _all_of([part for part in parts if part is not None]) if None not in parts else None

    def _either(self, alternatives: list[Any]) -> Schema | None:
        """One object for those of the alternatives that are objects."""
        objects = [found for each in alternatives if (found := self.flat(each)) is not None]
        if not objects:
            return None
        required = [name for name in objects[0].get("required", ()) if _by_all(name, objects)]
        return {"type": "object", "properties": _joined(objects, "anyOf"), "required": required}


def target_of(document: Mapping[str, Any], reference: Any) -> Any:
    """What a reference within the document names; None where it names nothing there."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: Any = document
    for step in unquote(reference[1:]).strip("/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) and step else None
    return found


def _takes_objects(schema: Schema) -> bool:
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else ["object" if kind is None else kind]
    return any(isinstance(each, str) and each.lower() == "object" for each in kinds)


def _properties(schema: Schema) -> Schema:
    given = schema.get("properties")
    found = given if isinstance(given, dict) else {}
    return {name: each if isinstance(each, dict) else {} for name, each in found.items() if each is not False}


def _required(schema: Schema) -> list[str]:
    return [name for name in _listed(schema.get("required")) if isinstance(name, str)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _all_of(parts: list[Schema]) -> Schema:
    """One object that fits all of these. What else the first ones say counts before what later ones say."""
    joined: Schema = {}
    for part in reversed(parts):
        joined |= part
    if "additionalProperties" not in parts[0]:
        joined.pop("additionalProperties", None)  # which would refuse what another part allows
    joined["properties"] = _joined(parts, "allOf")
    joined["required"] = list(dict.fromkeys(name for part in parts for name in part.get("required", ())))
    if not joined["required"]:
        del joined["required"]
    return joined


def _by_all(name: str, alternatives: list[Schema]) -> bool:
    return all(name in each.get("required", ()) for each in alternatives)


def _joined(parts: list[Schema], how: str) -> Schema:
    """The properties of all parts; what several say differently of one property is joined by `how`."""
    said: dict[str, list[Any]] = {}
    for part in parts:
        for name, schema in part["properties"].items():
            if schema not in said.setdefault(name, []):
                said[name].append(schema)
    return {name: schemas[0] if len(schemas) == 1 else {how: schemas} for name, schemas in said.items()}
