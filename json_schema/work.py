"""Estimates how much work a check of a value against a schema is, before the check is made.

jsonschema-rs has no deadline. It follows a reference again at each place, so the work can double with each level.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from json_schema.outline import Schema, in_place, schemas_at

VALUES_PER_STEP = 32  # of an enumeration: comparing them takes as long as one step
CHARACTERS_PER_STEP = 1024  # of a text: matching them takes as long as one step


class TooMuchWork(ValueError):
    """The check would need more steps than allowed."""


def steps(document: Schema, value: Any, most: int) -> int:
    """Return how many steps a check takes. A step is one part of the schema, checked for one value.

    Raise `TooMuchWork` above `most`. The time of this estimate is limited by `most`, too. The document has to pass
    `check_outline`.
    """
    try:
        return _Estimate(document, most).of(document, value)
    except RecursionError:
        raise TooMuchWork from None


class _Applied(NamedTuple):
    """The schemas of one part by what they check: the value itself, or its members."""

    in_place: Sequence[Schema]
    properties: Schema
    every_property: Sequence[Schema]
    other_properties: Sequence[Schema]
    names: Sequence[Schema]
    prefix: Sequence[Any]
    every_item: Sequence[Schema]
    looks_for_members: bool


class _Estimate:
    """Counts the steps of each pair of a part and a value. A pair that is reached twice is looked at only once."""

    def __init__(self, document: Schema, most: int) -> None:
        self._document = document
        self._most = most
        self._known: dict[tuple[int, int], int] = {}
        self._applied: dict[int, _Applied] = {}

    def of(self, schema: Schema, value: Any) -> int:
        """Return the steps of one part and one value."""
        pair = id(schema), id(value)
        if pair in self._known:
            return self._known[pair]
        if len(self._known) > self._most:
            raise TooMuchWork
        applied = self._applied.get(id(schema)) or self._apply(schema)
        same_value = sum([self.of(each, value) for each in applied.in_place])
        if applied.looks_for_members and isinstance(value, list | Mapping):
            same_value *= 1 + len(value)
        members = sum([self.of(each, member) for each, member in _below(applied, value)])
        count = _own_steps(schema, value) + same_value + members
        if count > self._most:
            raise TooMuchWork
        self._known[pair] = count
        return count

    def _apply(self, schema: Schema) -> _Applied:
        properties, items = schema.get("properties"), schema.get("items")
        applied = self._applied[id(schema)] = _Applied(
            in_place=[*in_place(self._document, schema)],
            properties=properties if isinstance(properties, Mapping) else {},
            every_property=_held(schema, "patternProperties", "unevaluatedProperties"),
            other_properties=_held(schema, "additionalProperties"),
            names=_held(schema, "propertyNames"),
            prefix=schema.get("prefixItems", items if isinstance(items, list) else ()),
            every_item=_held(
                schema,
                *(() if isinstance(items, list) else ("items",)),
                "additionalItems",
                "unevaluatedItems",
                "contains",
            ),
            looks_for_members="unevaluatedProperties" in schema or "unevaluatedItems" in schema,
        )
        return applied


def _own_steps(schema: Schema, value: Any) -> int:
    enumeration = schema.get("enum")
    compared = len(enumeration) // VALUES_PER_STEP if isinstance(enumeration, list) else 0
    return (1 + compared) * (1 + (len(value) // CHARACTERS_PER_STEP if isinstance(value, str) else 0))


def _below(applied: _Applied, value: Any) -> Iterator[tuple[Schema, Any]]:
    """Yield each schema that checks a member of the value, with this member."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            own = applied.properties.get(name)
            others = () if name in applied.properties else applied.other_properties
            for each in chain((own,), applied.every_property, others):
                if isinstance(each, Mapping):
                    yield each, member
            for each in applied.names:
                yield each, name
    elif isinstance(value, list):
        for index, member in enumerate(value):
            own = applied.prefix[index] if index < len(applied.prefix) else None
            for each in chain((own,), applied.every_item):
                if isinstance(each, Mapping):
                    yield each, member


def _held(schema: Schema, *keywords: str) -> list[Schema]:
    return [part.schema for keyword in keywords for part in schemas_at(schema, keyword)]
