"""Tests the schemas of signatures, with functions of every shape and the expected schemas written out."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import uuid
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeAlias, TypeVar

import pytest
from pydantic import BaseModel, BeforeValidator, Field
from typing_extensions import TypedDict
from wire import Json

from services.tooling.base import InvalidArguments, ToolContext
from services.tooling.decorator import ToolsInvalid
from services.tooling.signature import Signature

T = TypeVar("T")


class Unit(enum.Enum):
    """The units of temperatures."""

    CELSIUS = "celsius"
    KELVIN = "kelvin"


class Point(BaseModel):
    """A place on a map."""

    x: int
    y: int = Field(0, ge=0, title="Northing")


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


class Pair(BaseModel, Generic[T]):
    left: T


@dataclasses.dataclass
class Box:
    corner: Point
    size: float = 1.0


class Row(TypedDict, total=False):
    cells: list[str]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]


Pet: TypeAlias = Annotated[Cat | Dog, Field(discriminator="kind")]
Code = Annotated[str, Field(pattern="^[A-Z]{3}$")]
UNSET = object()


def nothing() -> None: ...


def plain(city: str, days: int, warm: bool, share: float) -> None: ...


def defaults(city: str, days: int = 3, tags: list[str] = [], note: str = "ä") -> None: ...  # noqa: B006


def optional(city: str | None, days: int | None = None) -> None: ...


def unions(key: int | str | list[int]) -> None: ...


def annotated(days: Annotated[int, Field(ge=1, le=14, description="How many days.")] = 1, code: Code = "OSL") -> None:
    """Forecast.

    Args:
        days: The docstring's word, which loses.
        code: The airport.
    """


def fields(days: int = Field(3, description="How many.", examples=[5]), city: str = Field(min_length=1)) -> None: ...


def enums(unit: Unit, mode: Literal["fast", "slow"] = "fast") -> None:
    """Measure.

    Args:
        unit: Which unit.
    """


def nested(box: Box, points: list[Point]) -> None: ...


def recursive(tree: Tree) -> None: ...


def typed_dicts(row: Row, by_name: dict[str, Row]) -> None: ...


def discriminated(pet: Pet) -> None: ...


def times(day: datetime.date, at: datetime.datetime, within: datetime.timedelta, key: uuid.UUID) -> None: ...


def decimals(amount: decimal.Decimal) -> None: ...


def containers(
    pair: tuple[int, str], names: set[str], raw: bytes, anything: Any, table: dict[str, list[int]]
) -> None: ...


def keywords(*, first: int, second: int = 2) -> None: ...


def with_context(city: str, context: ToolContext, days: int = 1) -> None:
    """Look it up.

    Args:
        city: The city.
        context: Not for models.
        days: How many.
    """


def odd_names(model_config: int, schema: int, json: int, _private: int, copy: int = 1, p9: str = "") -> None: ...


def unwritable_default(city: str = UNSET) -> None: ...  # type: ignore[assignment]


def not_a_number(share: float = math.nan, raw: bytes = b"\xff") -> None: ...


def generic(pair: Pair[int], other: Pair[str]) -> None: ...


async def google(city: str, days: int = 1) -> None:
    """Tell the weather.

    From several stations:

    - the nearest one
    - the highest one

    Args:
        city (str): The city,
            or the town.
        days: How many days,
            today included.

    Returns:
        The weather.

    Raises:
        ToolError: Never.
    """


def numpy(city: str, days: int = 1) -> None:
    """Tell the weather.

    From several stations.

    Parameters
    ----------
    city : str
        The city.
    days : int, optional
        How many days.

    Returns
    -------
    str
        The weather.
    """


def sphinx(city: str, days: int = 1) -> None:
    """Tell the weather.

    From several stations.

    :param city: The city,
        or the town.
    :param int days: How many days.
    :returns: The weather.
    """


def noted(city: str) -> None:
    """Tell the weather.

    Note:
        Only in Europe.

    More words.

    Args:
        city: The city.

    Example:
        Not shown.
    """


STRING, INTEGER = {"type": "string"}, {"type": "integer"}
POINT = {
    "description": "A place on a map.",
    "type": "object",
    "properties": {"x": INTEGER, "y": {"type": "integer", "default": 0, "minimum": 0, "title": "Northing"}},
    "required": ["x"],
}
ROW = {"type": "object", "properties": {"cells": {"type": "array", "items": STRING}}, "additionalProperties": False}

SCHEMAS: list[tuple[Callable[..., Any], Json, list[str], Json]] = [
    (nothing, {}, [], {}),
    (
        plain,
        {"city": STRING, "days": INTEGER, "warm": {"type": "boolean"}, "share": {"type": "number"}},
        ["city", "days", "warm", "share"],
        {},
    ),
    (
        defaults,
        {
            "city": STRING,
            "days": {"type": "integer", "default": 3},
            "tags": {"type": "array", "items": STRING, "default": []},
            "note": {"type": "string", "default": "ä"},
        },
        ["city"],
        {},
    ),
    (
        optional,
        {
            "city": {"anyOf": [STRING, {"type": "null"}]},
            "days": {"anyOf": [INTEGER, {"type": "null"}], "default": None},
        },
        ["city"],
        {},
    ),
    (unions, {"key": {"anyOf": [INTEGER, STRING, {"type": "array", "items": INTEGER}]}}, ["key"], {}),
    (
        annotated,
        {
            "days": {"type": "integer", "minimum": 1, "maximum": 14, "description": "How many days.", "default": 1},
            "code": {"type": "string", "pattern": "^[A-Z]{3}$", "description": "The airport.", "default": "OSL"},
        },
        [],
        {},
    ),
    (
        fields,
        {
            "days": {"type": "integer", "default": 3, "description": "How many.", "examples": [5]},
            "city": {"type": "string", "minLength": 1},
        },
        ["city"],
        {},
    ),
    (
        enums,
        {
            "unit": {"$ref": "#/$defs/Unit", "description": "Which unit."},
            "mode": {"type": "string", "enum": ["fast", "slow"], "default": "fast"},
        },
        ["unit"],
        {"Unit": {"description": "The units of temperatures.", "type": "string", "enum": ["celsius", "kelvin"]}},
    ),
    (
        nested,
        {"box": {"$ref": "#/$defs/Box"}, "points": {"type": "array", "items": {"$ref": "#/$defs/Point"}}},
        ["box", "points"],
        {
            "Box": {
                "type": "object",
                "properties": {"corner": {"$ref": "#/$defs/Point"}, "size": {"type": "number", "default": 1.0}},
                "required": ["corner"],
                "additionalProperties": False,
            },
            "Point": POINT,
        },
    ),
    (
        recursive,
        {"tree": {"$ref": "#/$defs/Tree"}},
        ["tree"],
        {
            "Tree": {
                "type": "object",
                "properties": {
                    "name": STRING,
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}, "default": []},
                },
                "required": ["name"],
            }
        },
    ),
    (
        typed_dicts,
        {
            "row": {"$ref": "#/$defs/Row"},
            "by_name": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Row"}},
        },
        ["row", "by_name"],
        {"Row": ROW},
    ),
    (
        discriminated,
        {
            "pet": {
                "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
                "discriminator": {
                    "propertyName": "kind",
                    "mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"},
                },
            }
        },
        ["pet"],
        {
            "Cat": {
                "type": "object",
                "properties": {"kind": {"type": "string", "const": "cat"}, "lives": INTEGER},
                "required": ["kind", "lives"],
            },
            "Dog": {
                "type": "object",
                "properties": {"kind": {"type": "string", "const": "dog"}},
                "required": ["kind"],
            },
        },
    ),
    (
        times,
        {
            "day": {"type": "string", "format": "date"},
            "at": {"type": "string", "format": "date-time"},
            "within": {"type": "string", "format": "duration"},
            "key": {"type": "string", "format": "uuid"},
        },
        ["day", "at", "within", "key"],
        {},
    ),
    (decimals, {"amount": {"anyOf": [{"type": "number"}, STRING]}}, ["amount"], {}),
    (
        containers,
        {
            "pair": {"type": "array", "prefixItems": [INTEGER, STRING], "minItems": 2, "maxItems": 2},
            "names": {"type": "array", "items": STRING, "uniqueItems": True},
            "raw": {"type": "string", "format": "binary"},
            "anything": {},
            "table": {"type": "object", "additionalProperties": {"type": "array", "items": INTEGER}},
        },
        ["pair", "names", "raw", "anything", "table"],
        {},
    ),
    (keywords, {"first": INTEGER, "second": {"type": "integer", "default": 2}}, ["first"], {}),
    (
        with_context,
        {
            "city": {"type": "string", "description": "The city."},
            "days": {"type": "integer", "default": 1, "description": "How many."},
        },
        ["city"],
        {},
    ),
    (
        odd_names,
        {
            "model_config": INTEGER,
            "schema": INTEGER,
            "json": INTEGER,
            "_private": INTEGER,
            "copy": {"type": "integer", "default": 1},
            "p9": {"type": "string", "default": ""},
        },
        ["model_config", "schema", "json", "_private"],
        {},
    ),
    (unwritable_default, {"city": STRING}, [], {}),
    (not_a_number, {"share": {"type": "number"}, "raw": {"type": "string", "format": "binary"}}, [], {}),
    (
        generic,
        {"pair": {"$ref": "#/$defs/Pair_int_"}, "other": {"$ref": "#/$defs/Pair_str_"}},
        ["pair", "other"],
        {
            "Pair_int_": {"type": "object", "properties": {"left": INTEGER}, "required": ["left"]},
            "Pair_str_": {"type": "object", "properties": {"left": STRING}, "required": ["left"]},
        },
    ),
    (
        google,
        {
            "city": {"type": "string", "description": "The city, or the town."},
            "days": {"type": "integer", "default": 1, "description": "How many days, today included."},
        },
        ["city"],
        {},
    ),
    (
        numpy,
        {
            "city": {"type": "string", "description": "The city."},
            "days": {"type": "integer", "default": 1, "description": "How many days."},
        },
        ["city"],
        {},
    ),
    (
        sphinx,
        {
            "city": {"type": "string", "description": "The city, or the town."},
            "days": {"type": "integer", "default": 1, "description": "How many days."},
        },
        ["city"],
        {},
    ),
]


@pytest.mark.parametrize(
    ("function", "properties", "required", "defs"), SCHEMAS, ids=[function.__name__ for function, *_ in SCHEMAS]
)
def test_a_signature_gives_this_schema(
    function: Callable[..., Any], properties: Json, required: list[str], defs: Json
) -> None:
    """The schema is an object that accepts the function's parameters and no others, without titles that only repeat
    names.
    """
    expected = {"type": "object", "properties": properties, "additionalProperties": False}
    expected |= {"required": required} if required else {}
    expected |= {"$defs": defs} if defs else {}
    assert Signature(function).parameters == expected


@pytest.mark.parametrize(
    ("function", "description"),
    [
        (google, "Tell the weather.\n\nFrom several stations:\n\n- the nearest one\n- the highest one"),
        (numpy, "Tell the weather.\n\nFrom several stations."),
        (sphinx, "Tell the weather.\n\nFrom several stations."),
        (with_context, "Look it up."),
        (noted, "Tell the weather.\n\nNote:\nOnly in Europe.\n\nMore words."),
        (nothing, ""),
    ],
)
def test_the_description_is_the_docstring_before_its_sections(function: Callable[..., Any], description: str) -> None:
    """Sections for readers of the code, such as the exceptions raised, are not part of it."""
    assert Signature(function).description == description


def test_arguments_become_what_the_function_is_written_for() -> None:
    """JSON strings and arrays become dates, tuples, models and other types, by pydantic's rules for JSON."""
    read = Signature(times).read(
        {
            "day": "2026-01-01",
            "at": "2026-01-01T10:00:00Z",
            "within": "PT3S",
            "key": "00000000-0000-0000-0000-000000000001",
        }
    )
    assert read == {
        "day": datetime.date(2026, 1, 1),
        "at": datetime.datetime(2026, 1, 1, 10, tzinfo=datetime.UTC),
        "within": datetime.timedelta(seconds=3),
        "key": uuid.UUID(int=1),
    }
    assert Signature(containers).read(
        {"pair": [1, "a"], "names": ["b"], "raw": "c", "anything": {"d": None}, "table": {"e": [2]}}
    ) == {"pair": (1, "a"), "names": {"b"}, "raw": b"c", "anything": {"d": None}, "table": {"e": [2]}}
    assert Signature(nested).read({"box": {"corner": {"x": 1}}, "points": [{"x": 2, "y": 3}]}) == {
        "box": Box(Point(x=1), 1.0),
        "points": [Point(x=2, y=3)],
    }
    assert Signature(plain).read({"city": "a", "days": 2, "warm": True, "share": 1})["share"] == 1.0
    assert Signature(plain).read({"city": "a", "days": 2**70, "warm": True, "share": 1})["days"] == 2**70


def test_what_is_not_given_is_left_to_the_function() -> None:
    """Missing arguments are not passed, so the function uses its own default objects.

    Defaults of a Field are filled in.
    """
    assert Signature(unwritable_default).read({}) == {}
    assert Signature(fields).read({"city": "Oslo"}) == {"days": 3, "city": "Oslo"}
    assert Signature(odd_names).read({"model_config": 1, "schema": 2, "json": 3, "_private": 4}) == {
        "model_config": 1,
        "schema": 2,
        "json": 3,
        "_private": 4,
    }


def positive(value: int) -> int:
    if value < 0:
        raise ValueError("less than nothing")
    return value


def checked_by_hand(count: Annotated[int, Field(strict=True), BeforeValidator(positive)]) -> None: ...


FAULTS: list[tuple[Callable[..., Any], Json, str]] = [
    (plain, {"days": 1, "warm": True, "share": 1}, '- city: missing (the schema of city: {"type":"string"})'),
    (
        plain,
        {"city": "a", "days": "many", "warm": True, "share": 1},
        "- days: Input should be a valid integer, unable to parse string as an integer"
        ' (the schema of days: {"type":"integer"})',
    ),
    (
        plain,
        {"city": "a", "days": 1, "warm": True, "share": 1, "town": "b"},
        "- town: not known here; the arguments are city, days, warm, share",
    ),
    (nothing, {"a": 1}, "- a: not known here; there are none"),
    (odd_names, {"model_config": 1, "schema": 2, "json": 3, "_private": 4, "p1": 5}, "- p1: not known here"),
    (nested, {"box": {"corner": {"x": "a"}}, "points": []}, "- box.corner.x: Input should be a valid integer"),
    (nested, {"box": {"corner": {}, "colour": 1}, "points": []}, "- box.corner.x: missing"),
    (nested, {"box": {"corner": {}, "colour": 1}, "points": []}, "- box.colour: not known here"),
    (nested, {"box": {"corner": {"x": 1}}, "points": [{"x": 1}, 5]}, "- points.1: Input should be an object"),
    (unions, {"key": [1, "a"]}, "- key.1: Input should be a valid integer"),
    (enums, {"unit": "rankine"}, "- unit: Input should be 'celsius' or 'kelvin' (the schema of unit: "),
    (discriminated, {"pet": {"kind": "cat"}}, "- pet.lives: missing"),
    (checked_by_hand, {"count": -1}, "- count: less than nothing"),
    (times, {"day": "2026-13-01"}, "- day: Input should be a valid date"),
]


@pytest.mark.parametrize(("function", "arguments", "line"), FAULTS)
def test_a_model_can_correct_its_arguments_by_the_error(
    function: Callable[..., Any], arguments: Json, line: str
) -> None:
    """Each error has the path, the problem and the schema's rule, and mentions neither Python nor pydantic."""
    with pytest.raises(InvalidArguments) as raised:
        Signature(function).read(arguments)
    message = str(raised.value)
    assert message.startswith("The arguments are not valid:\n")
    assert any(shown.startswith(line) for shown in message.splitlines()), message
    for internal in ("pydantic", "http", "[type=", "function-", "Value error", "Traceback", "Arguments\n", "p0"):
        assert internal not in message


def test_a_model_does_not_get_endless_errors() -> None:
    """For a list of a thousand wrong values, twenty errors and the number of others are reported."""
    with pytest.raises(InvalidArguments) as raised:
        Signature(unions).read({"key": [None] * 1000})
    lines = str(raised.value).splitlines()
    assert len(lines) == 22
    assert lines[-1].startswith("- and ")
    assert lines[-1].endswith(" more")


@pytest.mark.parametrize("arguments", [{"anything": float("nan")}, {"anything": object()}])
def test_what_is_no_json_is_refused(arguments: Json) -> None:
    """Arguments that aren't JSON, as edited ones may be, are refused."""
    with pytest.raises(InvalidArguments, match="not JSON"):
        Signature(containers).read(arguments)


def test_lone_surrogates_are_mended() -> None:
    """Lone surrogates in arguments are replaced before the function is called."""
    assert Signature(unwritable_default).read({"city": "a\ud800"}) == {"city": "a\ufffd"}


def no_hint(city) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001


def optional_context(context: ToolContext | None = None) -> None: ...


def unknown_name(city: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821


def no_schema(city: str, then: Callable[[], None]) -> None: ...


def bad_pattern(code: Annotated[str, Field(pattern="(")]) -> None: ...


def of_a_class(count: int) -> None: ...


of_a_class.__annotations__["count"] = ClassVar[int]


def within_itself(count: int, others: list[int]) -> None: ...


within_itself.__annotations__["others"] = list[Self]  # type: ignore[misc]


def a_class_of_its_own(thing: Signature) -> None: ...


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (no_hint, "city needs a type hint"),
        (optional_context, "its type hint has to be ToolContext alone"),
        (unknown_name, "name 'Nowhere' is not defined"),
        (no_schema, "the type hint of then has no JSON schema"),
        (bad_pattern, "the type hint of code has no JSON schema"),
        (of_a_class, "ClassVar and Final don't belong into parameters"),
        (within_itself, "the type hint of others has no JSON schema: Self belongs into a class, not into parameters"),
        (a_class_of_its_own, "the type hint of thing has no JSON schema"),
    ],
)
def test_a_signature_without_a_schema_is_refused_with_its_place(function: Callable[..., Any], expected: str) -> None:
    """The error names the file, the function and the parameter, and says what to do."""
    with pytest.raises(ToolsInvalid) as raised:
        Signature(function)
    line = function.__code__.co_firstlineno
    assert str(raised.value).startswith(f"tests/tooling/test_tool_schemas.py:{line}, {function.__name__}: ")
    assert expected in str(raised.value)
