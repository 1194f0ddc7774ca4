"""Walks through a schema: its parts, the parts that its references name, and what makes it unusable.

Only the keywords of JSON Schema are followed, so `{"$ref": …}` inside of a `const` or `default` is just a value.
"""

import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple
from urllib.parse import unquote

MAX_PATTERNS = 20  # compiling one takes 3 ms at most
LOCAL_REFERENCE = re.compile(r"#(/[^/#]+)*")
REBASING = ("$id", "id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef")
"""Keywords that change the target of a `$ref`."""

IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
"""Keywords whose schemas check the same value."""
BELOW = (
    *("properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames"),
    *("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"),
)
"""Keywords whose schemas check the members of the value."""
NAMED = frozenset(("properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"))
"""Keywords that hold schemas by name."""

Schema = Mapping[str, Any]
Path = tuple[str, ...]


class UnusableSchema(ValueError):
    """A part of a schema can't be used. `path` leads to it."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(problem)


class Part(NamedTuple):
    """A part of a schema that is a schema itself, and the path to it."""

    path: Path
    schema: Schema


def check_outline(document: Schema) -> None:
    """Raise `UnusableSchema` if a check could leave the document, never end, or compile too many patterns."""
    followers: dict[int, set[int]] = {}
    patterns = 0
    for path, schema in _parts(document):
        for name in REBASING:
            if isinstance(schema.get(name), str):
                raise UnusableSchema((*path, name), "is not supported: refer to a part by $ref and its place (#/…)")
        patterns += isinstance(schema.get("pattern"), str) + len(_mapping(schema.get("patternProperties")))
        if patterns > MAX_PATTERNS:
            raise UnusableSchema(path, f"use at most {MAX_PATTERNS} patterns in a schema")
        followers[id(schema)] = {id(each) for each in in_place(document, schema)}
    try:
        TopologicalSorter(followers).prepare()
    except CycleError:
        raise UnusableSchema((), "a reference leads back to itself without going into the value") from None


def in_place(document: Schema, schema: Schema) -> Iterator[Schema]:
    """Yield the schemas that check the same value as this one: combinations, and the target of a reference."""
    for keyword in IN_PLACE:
        for part in schemas_at(schema, keyword):
            yield part.schema
    if isinstance(reference := schema.get("$ref"), str):
        target = target_of(document, reference)
        if isinstance(target, Mapping):
            yield target


def schemas_at(schema: Schema, keyword: str) -> Iterator[Part]:
    """Yield the schemas that a keyword holds, with their paths. Booleans are left out: they need no check."""
    held = schema.get(keyword)
    if isinstance(held, list):
        members: list[tuple[Path, Any]] = [((keyword, str(index)), each) for index, each in enumerate(held)]
    elif keyword in NAMED:
        members = [((keyword, name), each) for name, each in _mapping(held).items()]
    else:
        members = [((keyword,), held)]
    for path, member in members:
        if isinstance(member, Mapping):
            yield Part(path, member)


def _parts(document: Schema) -> Iterator[Part]:
    """Yield the document and all of its parts once. Raise `UnusableSchema` for a reference without a target."""
    found = {id(document)}
    waiting = [Part((), document)]
    while waiting:
        part = waiting.pop()
        yield part
        for each in _next_parts(document, part):
            if id(each.schema) not in found:
                found.add(id(each.schema))
                waiting.append(each)


def _next_parts(document: Schema, part: Part) -> Iterator[Part]:
    for keyword in (*IN_PLACE, *BELOW, "$defs", "definitions"):
        for path, schema in schemas_at(part.schema, keyword):
            yield Part((*part.path, *path), schema)
    reference = part.schema.get("$ref")
    if isinstance(reference, str):
        path = (*part.path, "$ref")
        if not LOCAL_REFERENCE.fullmatch(reference):
            raise UnusableSchema(path, "must name a place in this schema, such as #/$defs/name")
        target = target_of(document, reference)
        if isinstance(target, Mapping):
            yield Part(path, target)
        elif not isinstance(target, bool):
            raise UnusableSchema(path, "names a place that this schema doesn't have")


def target_of(document: Schema, reference: Any) -> Any:
    """Return the part of the document that a reference names, None if there is none."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    if reference == "#":
        return document
    target: Any = document
    for step in unquote(reference[1:]).strip("/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list):
            target = target[int(name)] if name.isdecimal() and int(name) < len(target) else None
        else:
            target = target.get(name) if isinstance(target, Mapping) and step else None
    return target


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
