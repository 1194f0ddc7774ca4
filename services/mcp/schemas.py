"""Makes a tool's input schema one that every model server accepts: its root is a plain object.

MCP servers send roots that are missing (mastra#21859), `{}` (gitlab-mcp#286), a union (claude-code#88049,
openclaw#112667) or a reference (basemind#50), and `"required": null` (claude-code#44364). Anthropic and OpenAI refuse a
request with one such tool. A constraint that is dropped does no harm: the MCP server checks the arguments itself.
"""

from typing import Any

from json_codec.text import dumps, too_deep
from json_schema.outline import target_of

MAX_DEPTH = 64  # of a schema; other parsers may refuse deeper ones
MAX_PARTS = 200  # schemas from which one root is made
ALTERNATIVES = ("anyOf", "oneOf")
REFUSED_AT_ROOT = frozenset({"$ref", "allOf", *ALTERNATIVES, "not", "enum", "const"})

NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})
NESTED = frozenset({"items", "prefixItems", "additionalProperties", "not", "allOf", *ALTERNATIVES})
TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
OTHER_NAMES = {"int": "integer", "float": "number", "double": "number", "bool": "boolean", "str": "string"}

Schema = dict[str, Any]


def as_object(schema: Any) -> Schema | None:
    """Return the schema with a plain object as its root, None if no object fits it or JSON can't express it.

    Null, `true`, `{}` and `[]` (PHP's empty object) allow any arguments, and become an object without properties.
    References at the root are resolved. Alternatives at the root are joined: the object has the properties of all, and
    requires those that each of them requires.
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
    """Return the schema with JSON Schema's own types in its parts: a model server refuses a request for any other."""
    sound = dict(schema)
    for key in schema.keys() & NAMED:
        if isinstance(schema[key], dict):
            sound[key] = {name: _sound_part(part) for name, part in schema[key].items()}
    for key in schema.keys() & NESTED:
        sound[key] = _sound_part(schema[key])
    return sound


def _sound_part(part: Any) -> Any:
    """Translate types such as `int` and `STRING`, drop unknown ones such as `any`, and let an array have items."""
    if isinstance(part, list):
        return [_sound_part(each) for each in part]
    if not isinstance(part, dict):
        return part
    sound = _with_sound_parts(part)
    types = _known_types(sound.pop("type", None))
    if types:
        sound["type"] = types[0] if len(types) == 1 else types
    if "array" in types:
        sound.setdefault("items", {})
    return sound


def _known_types(declared: Any) -> list[str]:
    """Return the types of JSON Schema that a part declares, under their own names."""
    several = declared if isinstance(declared, list) else [declared]
    names = [each.lower() for each in several if isinstance(each, str)]
    known = [OTHER_NAMES.get(name, name) for name in names]
    return [name for name in known if name in TYPES]


class _Root:
    """Makes one root plain. It follows at most `MAX_PARTS` references and combinations, so it always ends."""

    def __init__(self, document: Schema) -> None:
        self._document = document
        self._left = MAX_PARTS

    def flat(self, schema: Any) -> Schema | None:
        """Return the schema as a plain object, None if no object fits it."""
        self._left -= 1
        if self._left < 0 or not isinstance(schema, dict) or not _accepts_objects(schema):
            return None
        own = {key: value for key, value in schema.items() if key not in REFUSED_AT_ROOT}
        if not isinstance(own.get("$schema", ""), str):
            del own["$schema"]
        own |= {"type": "object", "properties": _properties(schema), "required": _required(schema)}
        referenced = [target_of(self._document, schema["$ref"])] if "$ref" in schema else []
        unions = [alternatives for key in ALTERNATIVES if (alternatives := _list(schema.get(key)))]
        combined = [*referenced, *_list(schema.get("allOf"))]
        parts = [own, *map(self.flat, combined), *map(self._either, unions)]
        return _all_of([part for part in parts if part is not None]) if None not in parts else None

    def _either(self, alternatives: list[Any]) -> Schema | None:
        """Join the alternatives that are objects. None if there are none."""
        objects = [found for each in alternatives if (found := self.flat(each)) is not None]
        if not objects:
            return None
        required = [name for name in objects[0].get("required", ()) if _is_required_by_all(name, objects)]
        return {"type": "object", "properties": _joined(objects, "anyOf"), "required": required}


def _accepts_objects(schema: Schema) -> bool:
    declared = schema.get("type")
    types = declared if isinstance(declared, list) else ["object" if declared is None else declared]
    return any(isinstance(each, str) and each.lower() == "object" for each in types)


def _properties(schema: Schema) -> Schema:
    """Return the properties. `false` forbids one, and `true` becomes `{}`, which some model servers require."""
    declared = schema.get("properties")
    properties = declared if isinstance(declared, dict) else {}
    return {name: each if isinstance(each, dict) else {} for name, each in properties.items() if each is not False}


def _required(schema: Schema) -> list[str]:
    return [name for name in _list(schema.get("required")) if isinstance(name, str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _all_of(parts: list[Schema]) -> Schema:
    """Join objects that all apply. Of other keywords, those of earlier parts take precedence over later ones."""
    joined: Schema = {}
    for part in reversed(parts):
        joined |= part
    if "additionalProperties" not in parts[0]:
        joined.pop("additionalProperties", None)  # a later part's would refuse the properties of the others
    joined["properties"] = _joined(parts, "allOf")
    joined["required"] = list(dict.fromkeys(name for part in parts for name in part.get("required", ())))
    if not joined["required"]:
        del joined["required"]
    return joined


def _is_required_by_all(name: str, alternatives: list[Schema]) -> bool:
    return all(name in each.get("required", ()) for each in alternatives)


def _joined(parts: list[Schema], how: str) -> Schema:
    """Return the properties of all parts. Different schemas of one property are joined by `how`: anyOf or allOf."""
    properties: dict[str, list[Any]] = {}
    for part in parts:
        for name, schema in part["properties"].items():
            if schema not in properties.setdefault(name, []):
                properties[name].append(schema)
    return {name: schemas[0] if len(schemas) == 1 else {how: schemas} for name, schemas in properties.items()}
