"""Tests that a schema is checked, with the place of a fault, and values against it, in bounded time."""

import time
from typing import Any

import pytest

from json_schema.outline import UnusableSchema
from json_schema.validation import check_schema, faults
from json_schema.work import TooMuchWork, steps

Json = dict[str, Any]

MOST = 100_000
TREE: Json = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"n": {"type": "integer"}, "of": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["n"],
            "additionalProperties": False,
        }
    },
}
DRAFT_7: Json = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "$id": "https://example.com/answer",
    "definitions": {"name": {"type": "string"}},
    "properties": {"id": {"$ref": "#/definitions/name"}, "$id": {"type": "string"}},
}


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "text"}, "type"),
        ({"properties": {"a": {"type": 3}}}, "properties.a.type"),
        ({"required": "a"}, "required"),
        ({"$schema": "https://example.com/schema"}, "$schema"),
        ({"$schema": 7}, "$schema"),
        ({"properties": {"a": {"$ref": "https://example.com/a"}}}, "properties.a.$ref"),
        ({"items": {"$ref": "other.json#/a"}}, "items.$ref"),
        ({"$ref": "#/$defs/none"}, "$ref"),
        ({"$defs": {"a": {"$ref": "#/const/0"}}, "const": ["no schema"]}, "$defs.a.$ref"),
        ({"$defs": {"a": {"$id": "https://example.com/a"}}}, "$defs.a.$id"),
        ({"$defs": {"a": {"$anchor": "a"}}}, "$defs.a.$anchor"),
        ({"$ref": "#"}, ""),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, ""),
        ({"pattern": "("}, "pattern"),
        ({"items": {"pattern": "(?=a)"}}, "items.pattern"),
        ({"properties": {"b": {"pattern": "(a{1000}){1000}"}}}, "properties.b.pattern"),
    ],
)
def test_an_unusable_schema_is_refused_with_the_place(schema: Json, path: str) -> None:
    """Nothing outside of the schema is asked, no check of it can run forever, and the fault has its place."""
    with pytest.raises(UnusableSchema) as refused:
        check_schema(schema)
    assert ".".join(refused.value.path) == path


def test_too_many_patterns_are_refused() -> None:
    """Compiling patterns takes time, so their number is limited."""
    with pytest.raises(UnusableSchema, match="at most 20 patterns"):
        check_schema({"properties": {f"p{i}": {"pattern": "^a"} for i in range(21)}})


@pytest.mark.parametrize("schema", [{}, TREE, DRAFT_7, {"const": {"$ref": "#/none"}}, {"items": {"$ref": "#"}}])
def test_a_usable_schema_passes(schema: Json) -> None:
    """References within the schema, recursion into the value, a root's name and older versions are accepted."""
    check_schema(schema)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"n": 1, "of": [{"n": 2, "of": []}]}, []),
        ({"n": 1, "of": [{"n": "2"}, {}]}, ["of.0.n: must be of type integer", "of.1.n: is required"]),
        ({"n": 1, "x": 2}, ["x: is not allowed here"]),
        ([], ["the answer: must be of type object"]),
        (None, ["the answer: must be of type object"]),
    ],
)
def test_faults_of_a_value_have_their_places(value: Any, found: list[str]) -> None:
    """The faults of a recursive value lead to the members. Null is a value like any other."""
    assert faults(TREE, value, "the answer", MOST) == found


def test_a_long_value_has_one_fault() -> None:
    """Above the steps for which all faults are collected, the first one is reported."""
    value = {"n": 1, "of": [{"n": "x"} for _ in range(3000)]}
    assert faults(TREE, value, "the answer", MOST) == ["of.0.n: must be of type integer"]


def test_steps_are_counted_where_the_schema_applies() -> None:
    """A step is one part of the schema for one value: other properties and items cost nothing."""
    schema = {"properties": {"a": {"type": "string"}, "b": {"items": {"type": "string"}}}}
    assert steps(schema, {"a": "x", "b": ["x", "y"], "c": [1] * 1000}, MOST) == 5


def doubling() -> Json:
    return {"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"properties": {"a": {"$ref": "#"}}}]}


def nested(depth: int) -> Json:
    return {"a": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (doubling(), nested(60)),
        ({"items": {"allOf": [{"minimum": i} for i in range(100)]}}, list(range(20_000))),
        ({"items": {"enum": [*range(200_000)]}}, list(range(20_000))),
        ({"pattern": "^(a+)+$", "allOf": [{"minLength": i} for i in range(2000)]}, "a" * 1_000_000),
    ],
    ids=["doubling", "schemas", "enumeration", "text"],
)
def test_a_check_that_would_take_long_is_not_made(schema: Json, value: Any) -> None:
    """Neither the estimate nor the check takes long, whatever the schema and the value are."""
    began = time.thread_time()
    with pytest.raises(TooMuchWork):
        faults(schema, value, "the answer", MOST)
    assert time.thread_time() - began < 1
