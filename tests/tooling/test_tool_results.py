"""Tests the text of tool results: every value becomes text, or an error that says why not."""

import array
import collections
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import functools
import ipaddress
import itertools
import json
import math
import types
import uuid
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pydantic.dataclasses
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, computed_field, field_serializer

from services.tooling.base import ToolError
from services.tooling.results import as_text, is_plain


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Point(BaseModel):
    x: int
    name: str = "ä"


@dataclasses.dataclass(slots=True)
class Box:
    corner: Point
    at: datetime.date


class Shown(BaseModel):
    """A model with each way of changing how its fields are written."""

    x: int = Field(default=1, serialization_alias="X")
    secret: str = "xyzzy"
    cache: Any = Field(default=None, exclude=True)

    @field_serializer("secret")
    def masked(self, _: str) -> str:
        return "***"

    @computed_field
    def twice(self) -> int:
        return 2 * self.x


class Holder(BaseModel):
    value: Any


class Open(BaseModel, extra="allow"): ...


@dataclasses.dataclass
class Held:
    value: Any


@dataclasses.dataclass(slots=True)
class Slots:
    value: Any


@pydantic.dataclasses.dataclass
class Known:
    value: Any


class Node(BaseModel):
    next: "Node | None" = None


class EndlessKeys(dict[Any, Any]):
    def keys(self) -> Any:
        return itertools.repeat(7)

    def items(self) -> Any:
        return itertools.repeat((7, 7))


HOLDERS: tuple[Callable[..., Any], ...] = (Holder, Held, Slots, Known)
Pair = collections.namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is, \ud800 too", "as it is, \ud800 too"),
        ("", ""),
        (None, "null"),
        (True, "true"),
        (2**70, "1180591620717411303424"),
        (0.1, "0.1"),
        ({"ä": [1, {"b": None}]}, '{"ä":[1,{"b":null}]}'),
        (["\ud800"], '["\ud800"]'),
        ((1, 2), "[1,2]"),
        (Pair(1, 2), "[1,2]"),
        ({3}, "[3]"),
        (frozenset({"a"}), '["a"]'),
        (collections.deque([1]), "[1]"),
        (types.MappingProxyType({"a": {1}}), '{"a":[1]}'),
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC), '"2026-01-02T03:04:00Z"'),
        (datetime.timedelta(seconds=3), '"PT3S"'),
        (decimal.Decimal("1.10"), '"1.10"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Colour.RED, '"red"'),
        ({Colour.RED: Level.LOW}, '{"red":1}'),
        ({(1, 2): 3}, '{"1,2":3}'),
        (PurePosixPath("/a/b"), '"/a/b"'),
        (ipaddress.ip_address("10.0.0.1"), '"10.0.0.1"'),
        (Point(x=1), '{"x":1,"name":"ä"}'),
        (EndlessKeys({"a": 1}), '{"a":1}'),
        (Box(Point(x=1), datetime.date(2026, 1, 2)), '{"corner":{"x":1,"name":"ä"},"at":"2026-01-02"}'),
        ([Point(x=1), {2}], '[{"x":1,"name":"ä"},[2]]'),
        (Shown(), '{"X":1,"secret":"***","twice":2}'),
        (Shown(cache=itertools.count()), '{"X":1,"secret":"***","twice":2}'),
        (Open.model_validate({"a": [1]}), '{"a":[1]}'),
        ("täxt".encode(), "täxt"),
        (bytearray(b"text"), "text"),
        (memoryview(b"text"), "text"),
        (b"\xff\xfe", '{"base64":"__4="}'),
        ({"raw": b"text"}, '{"raw":"text"}'),
        ({"raw": b"\xff\xfe"}, '{"raw":"__4="}'),
        (math.nan, '"NaN"'),
        ([math.inf, -math.inf, 1.5], '["Infinity","-Infinity",1.5]'),
    ],
)
def test_a_value_becomes_this_text(value: Any, text: str) -> None:
    """Text is unchanged. Other values become compact JSON with unescaped letters."""
    assert as_text(value) == text


def holding_itself() -> Any:
    value: dict[str, Any] = {"a": []}
    value["a"].append(value)
    return value


def deep() -> Any:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


class Lazy(BaseModel):
    """A model whose own attributes are endless, while a serializer writes its field as text."""

    rows: Any = Field(default_factory=itertools.count)

    @field_serializer("rows")
    def counted(self, _: Any) -> str:
        return "rows"

    @functools.cached_property
    def index(self) -> Any:
        return itertools.count()


def lazy() -> Lazy:
    value = Lazy()
    assert value.index
    return value


class Stubborn(BaseModel):
    secret: str = "xyzzy"

    @field_serializer("secret")
    def never(self, _: str) -> str:
        raise ValueError("it is xyzzy")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (object(), "it contains a value of type object"),
        (10**5000, "an integer that is too long"),
        ({"a": [10**5000]}, "an integer that is too long"),
        ({"a": [Colour]}, "a value of type EnumType|a value of type EnumMeta"),
        ([ValueError("xyzzy")], "a value of type ValueError"),
        (itertools.count(), "an iterator, which may have no end"),
        ({"a": [1], "b": (n for n in itertools.count())}, "an iterator, which may have no end"),
        ((n for n in itertools.count()), "an iterator, which may have no end"),
        *((made(value=iter([1])), "an iterator, which may have no end") for made in HOLDERS),
        (Open.model_validate({"a": iter([1])}), "an iterator, which may have no end"),
        ([{"a": Holder(value=iter([1]))}], "an iterator, which may have no end"),
        (holding_itself(), "it contains itself or is nested too deeply"),
        (deep(), "it contains itself or is nested too deeply"),
        (Stubborn(), "could not be written as JSON"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_json_is_an_error_that_says_so(value: Any, expected: str) -> None:
    """The error names the type, never the value's representation in memory."""
    with pytest.raises(ToolError, match=expected) as raised:
        as_text(value)
    assert "0x" not in str(raised.value)
    assert "xyzzy" not in str(raised.value)


def test_only_what_is_written_of_a_model_counts() -> None:
    """Data of a model that isn't written can't make it too large or endless."""
    assert as_text([lazy()]) == '[{"rows":"rows"}]'


MANY = 400_000


class Endless(list[int]):
    """A list that has one item but iterates for ever."""

    def __iter__(self) -> Iterator[int]:
        return itertools.repeat(7)


class EndlessTuple(tuple[int, ...]):
    __slots__ = ()

    def __iter__(self) -> Iterator[int]:
        return itertools.repeat(7)


class EndlessSet(set[int]):
    def __iter__(self) -> Iterator[int]:
        return itertools.repeat(7)


class Numbers(collections.abc.Sequence[int]):
    """A sequence with the length that it reports."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.given = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, at: Any) -> Any:
        self.given += 1
        if at >= self.length:
            raise IndexError
        return at


class Computed(BaseModel):
    """A model with an endless computed field, which is written, too."""

    @computed_field
    def rows(self) -> Any:
        return itertools.count()


def branching() -> Any:
    value: list[Any] = []
    value += [value, value]
    return value


TOO_LARGE: dict[str, Callable[[], Any]] = {  # made by the test: all of them take a second to make
    "integers": lambda: [12345] * 2 * MANY,
    "dicts by text": lambda: dict(zip(map(str, range(MANY)), [{"n": 1}] * MANY, strict=True)),
    "keys that are integers": lambda: {n: n for n in range(MANY)},
    "keys that are tuples": lambda: dict.fromkeys(zip(range(MANY), range(MANY), strict=True)),
    "dates and sets": lambda: [{"x": datetime.date(2026, 1, 2), "y": {3}}] * MANY,
    "lists": lambda: [[1]] * MANY,
    "a range": lambda: range(10**15),
    "a sequence": lambda: Numbers(10**12),
    "a list without end": lambda: [{"a": Endless([1])}],
    "a tuple without end": lambda: EndlessTuple([1]),
    "a set without end": lambda: EndlessSet([1]),
    "shown objects": lambda: [Shown()] * MANY,
    "models": lambda: Held([Point(x=1)] * MANY),
    "slots": lambda: {"a": [{1: Slots([1])}] * MANY},
    "pydantic's dataclass": lambda: [Known([1] * 2 * MANY)],
    "text in a model": lambda: Holder(value="é" * 2_000_000),
    "bytes": lambda: {"b": b"\xff" * 2_000_000},
    "a long key": lambda: {"x" * 2_000_000: 1},
    "a key of many parts": lambda: {("x",) * MANY: 1},
    "long integers": lambda: [10**4000] * MANY,
    "branching": branching,
}


@pytest.mark.parametrize("kind", TOO_LARGE)
def test_a_value_that_is_too_large_is_an_error(kind: str) -> None:
    """A value far above the limit is refused: writing it would delay every stream, for a text that is cut anyway."""
    value = TOO_LARGE[kind]()
    with pytest.raises(
        ToolError, match=r"^The tool's result is too large to be written as JSON, or contains itself: return"
    ):
        as_text(value)


LARGE: dict[str, Callable[[], Any]] = {
    "rows": lambda: [{"id": n, "name": f"row {n}", "price": n / 7, "ok": True} for n in range(20_000)],
    "shown": lambda: [Shown()] * 20_000,
    "models": lambda: [Point(x=1, name="x" * 50)] * 12_000,
    "texts": lambda: ["x" * 1000] * 1400,
    "bytes": lambda: [b"\xff", *["a"] * MANY],
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_value_several_times_as_large_as_a_result_may_be_is_written_whole(kind: str) -> None:
    """A value several times above MAX_TOOL_RESULT_BYTES is written whole, and then cut by that limit."""
    value = LARGE[kind]()
    text = as_text(value)
    assert len(text) > 2 * 256 * 1024
    json.loads(text, parse_constant=pytest.fail)


HEAVIEST: dict[str, Callable[[int], Any]] = {
    "integers": lambda n: n + 10_000,
    "long integers": lambda n: 2**70 + n,
    "floats": lambda n: n / 7,
    "texts": lambda _: "\x01" * 1000,
    "lists": lambda n: [n],
    "dicts": lambda n: {"n": n},
    "keys": lambda n: {n: n, (n, n): n},
    "times": lambda n: datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC) + datetime.timedelta(n % 100),
    "models": lambda n: Point(x=n),
    "dataclasses": lambda n: Held(n),
    "pydantic's dataclasses": lambda n: Known(n),
}


@pytest.mark.parametrize("kind", HEAVIEST)
def test_each_kind_of_value_is_refused_beyond_some_number(kind: str) -> None:
    """Writing holds the interpreter lock, so the weight of what is written is limited whatever it consists of.

    The limit keeps one write below 20 ms, which benchmarks/stalls.py measures.
    """
    made = [HEAVIEST[kind](n) for n in range(500)]
    assert is_written(made)
    assert not all(is_written(made * times) for times in (130, 2000))  # an object counts as often as it is there


def is_written(value: Any) -> bool:
    try:
        as_text(value)
    except ToolError:
        return False
    return True


def test_what_is_within_a_model_counts() -> None:
    """Values inside models are checked, also where only pydantic knows how they are written."""
    node = Node()
    node.next = node
    for value, message in (
        (node, "it contains itself"),
        (Holder(value=holding_itself()), "it contains itself"),
        (Held([1, Held(holding_itself())]), "it contains itself"),
        (collections.UserList([holding_itself()]), "it contains itself"),
        ([object()] * 1000, "it contains a value of type object"),
        (Computed(), "which may have no end"),
        ([iter(range(3)), [1] * 1000], "which may have no end"),
    ):
        with pytest.raises(ToolError, match=message):
            as_text(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"\ud800": ["\ud800", {3}, Point(x=1)]}, '{"\ud800":["\ud800",[3],{"x":1,"name":"ä"}]}'),
        (["\ud800", b"\xff"], '["\ud800","_w=="]'),
        ({"a": collections.UserString("b")}, '{"a":"b"}'),
    ],
)
def test_text_that_is_not_unicode_is_written_all_the_same(value: Any, text: str) -> None:
    """Lone surrogates in text are replaced before it is written."""
    assert as_text(value) == text


class Text(str): ...


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        *((value, True) for value in (None, 1, 0.5, True, "", "x" * 10**6, {"a": [1, ("b", None)]}, ["x" * 100_000])),
        *((value, False) for value in ([1] * 10_000, ["x" * 10**6], {"x" * 10**6: 1}, {i: i for i in range(5000)})),
        *((value, False) for value in (Point(x=1), [Point(x=1)], {1}, b"x", Text(), [Text()], holding_itself())),
    ],
)
def test_what_is_plain_can_be_written_anywhere(value: Any, plain: bool) -> None:
    """Plain values are small and run no code of a tool, so they are written outside of its thread.

    Text needs no writing.
    """
    assert is_plain(value) is plain


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.decimals()
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner)
)


@given(VALUES)
def test_every_value_is_text_or_valid_json(value: Any) -> None:
    """Random values become text or strictly valid JSON, without NaN and without cuts."""
    text = as_text(value)
    if not isinstance(value, str | bytes):
        json.loads(text, parse_constant=pytest.fail)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON.filter(lambda value: not isinstance(value, str)))
def test_json_comes_back_as_it_was(value: Any) -> None:
    """A JSON value is equal to the result parsed again."""
    assert json.loads(as_text(value)) == value


def test_a_value_is_not_written_when_nobody_waits_for_it() -> None:
    """Writing stops soon after the call's time is up, because an object's iterator can be slow."""
    numbers = Numbers(10**6)
    with pytest.raises(ToolError, match="was not written in time"):
        as_text([numbers], lambda: numbers.given > 5000)
    assert numbers.given < 6000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (range(3), "[0,1,2]"),
        ({"a": range(2)}, '{"a":[0,1]}'),
        ({"a": 1, "b": 2}.keys(), '["a","b"]'),
        ({"a": 1, "b": 2}.values(), "[1,2]"),
        ({"a": 1}.items(), '[["a",1]]'),
        (collections.UserList([1, [2]]), "[1,[2]]"),
        (collections.UserString("text"), "text"),
        (array.array("i", [1, 2]), "[1,2]"),
        ([range(2), {1: range(1)}], '[[0,1],{"1":[0]}]'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_can_be_gone_through_is_a_list(value: Any, text: str) -> None:
    """Iterables are written as lists."""
    assert as_text(value) == text
