"""What tools give, as text: every value is written, or is an error that says why not."""

import array
import collections
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
from pydantic_core import to_json

from services import tool_results
from services.tool_results import MAX_CHARACTERS, as_text, is_plain
from services.tools import ToolError


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
    """Written in each way that a model can choose."""

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
    """Text stays as it is; the rest is compact JSON, with letters beyond ASCII as they are."""
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
    """What it keeps beside its fields, and what a serializer makes of a field, is not what is written."""

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


class EndlessKeys(dict[Any, Any]):
    def keys(self) -> Any:
        return itertools.repeat(7)

    def items(self) -> Any:
        return itertools.repeat((7, 7))


class Stubborn(BaseModel):
    secret: str = "xyzzy"

    @field_serializer("secret")
    def never(self, _: str) -> str:
        raise ValueError("it is xyzzy")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (object(), "it holds a object"),
        (10**5000, "an integer that is too long"),
        ({"a": [10**5000]}, "an integer that is too long"),
        ({"a": [Colour]}, "it holds a EnumType|it holds a EnumMeta"),
        ([ValueError("xyzzy")], "it holds a ValueError"),
        (itertools.count(), "a count, which may have no end"),
        ({"a": [1], "b": (n for n in itertools.count())}, "a generator, which may have no end"),
        ((n for n in itertools.count()), "a generator, which may have no end"),
        *((made(value=iter([1])), "a list_iterator, which may have no end") for made in HOLDERS),
        (Open.model_validate({"a": iter([1])}), "a list_iterator, which may have no end"),
        ([{"a": Holder(value=iter([1]))}], "a list_iterator, which may have no end"),
        (holding_itself(), "it holds itself, or is nested too deep"),
        (deep(), "it holds itself, or is nested too deep"),
        (Stubborn(), "could not be written as JSON"),
        (EndlessKeys({"a": 1}), "could not be written as JSON"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_json_is_an_error_that_says_so(value: Any, told: str) -> None:
    """With the type, never with what a value looks like in memory."""
    with pytest.raises(ToolError, match=told) as raised:
        as_text(value)
    assert "0x" not in str(raised.value)
    assert "xyzzy" not in str(raised.value)


def test_only_what_is_written_of_a_model_counts() -> None:
    """Nothing else that it holds can make it too large, or endless."""
    assert as_text([lazy()]) == '[{"rows":"rows"}]'


@pytest.mark.parametrize(
    ("value", "beginning"), [("é".encode() * 5_000_000, '{"b":"éé'), (b"\xff" * 9_000_000, '{"b":"____')]
)
def test_long_bytes_in_a_value_are_cut(value: bytes, beginning: str) -> None:
    """As text is, whether they are text or not."""
    text = as_text({"b": value})
    assert text.startswith(beginning)
    assert MAX_CHARACTERS / 2 < len(text) <= MAX_CHARACTERS + 1


MANY = 300_000


class Endless(list[int]):
    """Says that it has one item, and never comes to an end."""

    def __iter__(self) -> Iterator[int]:
        return itertools.repeat(7)


class EndlessTuple(tuple[int, ...]):
    __slots__ = ()

    def __iter__(self) -> Iterator[int]:
        return itertools.repeat(7)


class EndlessSet(set[int]):
    def __iter__(self) -> Iterator[int]:
        return itertools.repeat(7)


class Slow(list[int]):
    """Takes its time for each item."""

    def __init__(self) -> None:
        super().__init__([1])
        self.given = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            self.given += 1
            yield self.given


@pytest.mark.parametrize(
    ("value", "beginning"),
    [
        ([12345] * MANY, "[12345,12345,"),
        ({str(n): {"n": n} for n in range(MANY)}, '{"0":{"n":0},"1":{"n":1},'),
        ([{"x": datetime.date(2026, 1, 2), "y": {3}}] * MANY, '[{"x":"2026-01-02","y":[3]},'),
        ([[n] for n in range(MANY)], "[[0],[1],"),
        (range(10**15), "[0,1,2,"),
        ([{"a": Endless([1])}], '[{"a":[7,7,'),
        (EndlessTuple([1]), "[7,7,"),
        (EndlessSet([1]), "[7,7,"),
        ([Shown()] * MANY, '[{"X":1,"secret":"***","twice":2},{"X":1,'),
        (Held([Point(x=1)] * MANY), '{"value":[{"x":1,"name":"ä"},'),
        ({"a": [{1: Slots([1])}] * MANY}, '{"a":[{"1":{"value":[1]}},'),
        (["é" * MANY * 100], '["éé'),
        (Holder(value="é" * MANY * 20), '{"value":"éé'),
    ],
    ids=[
        "list",
        "dict",
        "dates and sets",
        "lists",
        "range",
        "endless",
        "endless tuple",
        "endless set",
        "models",
        "dataclass",
        "dataclasses",
        "text",
        "model",
    ],
)
def test_what_is_heavy_is_written_as_far_as_it_is_wanted(value: Any, beginning: str) -> None:
    """It is cut anyway, and writing ten million values at once would hold up every stream."""
    text = as_text(value)
    assert text.startswith(beginning)
    assert len(text) <= MAX_CHARACTERS + 100


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([math.nan, *[1] * MANY], '["NaN",1,1,'),
        ({(1, 2): [1] * MANY}, '{"1,2":[1,1,'),
        ([b"\xff", *["a"] * MANY], '["_w==","a","a",'),
        ([PurePosixPath("/a"), "x" * MANY], '["/a","xxx'),
    ],
    ids=["nan", "key", "bytes", "path"],
)
def test_what_is_heavy_and_odd_is_written_all_the_same(value: Any, text: str) -> None:
    """By the rules for what is light."""
    assert as_text(value).startswith(text)
    json.loads(as_text(value), parse_constant=pytest.fail)


def test_no_more_is_written_at_once_than_others_can_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writers of JSON let no other thread run meanwhile, so large values reach them in pieces."""
    sizes: list[int] = []

    def counted(*args: Any, **options: Any) -> bytes:
        sizes.append(len(to_json(*args, **options)))
        return to_json(*args, **options)

    monkeypatch.setattr(tool_results, "to_json", counted)
    rows = [Shown() for _ in range(100_000)]
    for value in (rows, Held(rows), {"rows": rows}, [Held(rows[:50_000])]):
        sizes.clear()
        assert len(as_text(value)) > 1_500_000
        assert max(sizes) < 10_000


def test_all_bytes_of_a_heavy_value_are_written_alike() -> None:
    """Base64 also where they are text, if others are none: who reads it can't tell them apart."""
    assert as_text([b"text", *["a"] * MANY, b"\xff"]).startswith('["dGV4dA==","a",')


def test_what_is_heavy_and_no_json_is_an_error() -> None:
    """The same as for what is light."""
    endless: list[Any] = list(range(MANY))
    endless.append(endless)
    node = Node()
    node.next = node
    for value, told in (
        (Holder(value=[Point(x=1)] * MANY), "has a Holder that is too large to be written, or holds itself: return"),
        ([Known([1] * MANY)], "has a Known that is too large"),
        ({("x",) * MANY: 1}, "has a tuple that is too large"),
        (node, "has a Node that is too large to be written, or holds itself"),
        (Held([1, Held(endless)]), "it holds itself"),
        ([object()] * MANY, "it holds a object"),
        (endless, "it holds itself"),
        ([iter(range(3)), [1] * MANY], "has a range_iterator, which may have no end"),
    ):
        with pytest.raises(ToolError, match=told):
            as_text(value)


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
    """It is small, and runs no code of a tool's. Text is not written at all."""
    assert is_plain(value) is plain


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.decimals()
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner)
)


@given(VALUES)
def test_every_value_is_text_or_valid_json(value: Any) -> None:
    """Whatever it holds, in whatever order: no NaN, nothing cut, nothing that a strict reader refuses."""
    text = as_text(value)
    if not isinstance(value, str | bytes):
        json.loads(text, parse_constant=pytest.fail)


@given(VALUES.filter(lambda value: not isinstance(value, str | bytes)))
def test_what_is_written_in_pieces_is_the_same(value: Any) -> None:
    """As what is written at once."""
    whole = as_text(value)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tool_results, "LIGHT", 8)
        patched.setattr(tool_results, "BATCH", 2)
        assert json.loads(as_text(value)) == json.loads(whole)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON.filter(lambda value: not isinstance(value, str)))
def test_json_comes_back_as_it_was(value: Any) -> None:
    """What is JSON already is only written."""
    assert json.loads(as_text(value)) == value


def test_a_value_is_not_written_when_nobody_waits_for_it() -> None:
    """One that never ends stops soon after its time is up."""
    slow = Slow()
    with pytest.raises(ToolError, match="was not written in time"):
        as_text(slow, lambda: slow.given > 5000)
    assert slow.given < 6000


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
    """As people mean it who return one."""
    assert as_text(value) == text
