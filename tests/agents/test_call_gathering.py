"""Gathering tool calls from the pieces in which servers stream them, and reading their arguments."""

import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import TooManyCalls, UpstreamProtocol
from services.agents.call_gathering import MAX_NAMELESS, CallGatherer, GatheredCall
from services.completions.call_arguments import Arguments, read_arguments
from services.completions.chunks import CallDelta, ChatChunks
from services.completions.deltas import MAX_CALLS
from settings import Settings

KNOWN = ("echo", "ping", "add", "add_all")
HI = '{"text":"hi"}'


def piece(name: str = "", arguments: str = "", *, id: str = "", index: int | None = None, **extra: Any) -> CallDelta:  # noqa: A002
    return CallDelta(index, id, name, arguments, extra)


def gathered(*pieces: CallDelta, known: Sequence[str] = KNOWN, most: int = 128) -> list[GatheredCall]:
    gatherer = CallGatherer(known, most)
    for one in pieces:
        gatherer.add(one)
    return gatherer.all


def read(*pieces: CallDelta, known: Sequence[str] = KNOWN) -> list[tuple[str, Any]]:
    """Each call's name and arguments, or the text of invalid ones."""
    calls = gathered(*pieces, known=known)
    return [(call.name, call.arguments.invalid or call.arguments.value) for call in calls]


def hi(*cuts: int) -> list[str]:
    """The arguments of one call to `echo`, cut into pieces."""
    return [HI[start:end] for start, end in zip((0, *cuts), (*cuts, len(HI)), strict=True)]


ECHO = [("echo", {"text": "hi"})]
A, B = '{"a":1,"b":1}', '{"a":2,"b":2}'
TWO = [("add", json.loads(A)), ("add", json.loads(B))]

ONE_CALL = {
    "OpenAI": (piece("echo", id="c1", index=0), piece("", HI[:4], index=0), piece("", HI[4:], index=0)),
    "all in one piece, no labels": (piece("echo", HI),),
    "id and name on every piece": tuple(piece("echo", part, id="c1", index=0) for part in hi(1, 4, 9)),
    "id and name on every piece, no index": tuple(piece("echo", part, id="c1") for part in hi(1, 4, 9)),
    "the name alone on every piece": tuple(piece("echo", part, index=0) for part in hi(1, 4, 9)),
    "no labels at all but the name": tuple(piece("echo", part) for part in hi(1, 4, 9)),
    "no index on later pieces": (piece("echo", id="c1", index=0), piece("", HI[:4]), piece("", HI[4:])),
    "an index on later pieces only": (piece("echo", id="c1"), piece("", HI[:4], index=0), piece("", HI[4:], index=0)),
    "a new id on every piece": tuple(
        piece("" if n else "echo", p, id=f"c{n}", index=0) for n, p in enumerate(hi(4, 9))
    ),
    "a new id and the name on every piece": tuple(
        piece("echo", p, id=f"c{n}", index=0) for n, p in enumerate(["", *hi(4, 9)])
    ),
    "a new id on every piece, no index": tuple(
        piece("" if n else "echo", p, id=f"c{n}") for n, p in enumerate(hi(4, 9))
    ),
    "the index counts chunks": tuple(piece("" if n else "echo", p, id="c1", index=n) for n, p in enumerate(hi(4, 9))),
    "the index counts chunks, the name on each": tuple(
        piece("echo", p, id="c1", index=n) for n, p in enumerate(["", *hi(4, 9)])
    ),
    "the index begins at 1": (piece("echo", id="c1", index=1), piece("", HI, index=1)),
    "a huge and a negative index": (piece("echo", id="c1", index=-(10**30)), piece("", HI, index=-(10**30))),
    "id first, then the name": (piece(id="c1", index=0), piece("echo", HI, index=0)),
    "id first, then the name, no index": (piece(id="c1"), piece("echo", HI, id="c1")),
    "nothing first": (piece(index=0), piece("echo", HI, id="c1", index=0)),
    "arguments before the name": (piece("", HI[:4], index=0), piece("echo", HI[4:], id="c1", index=0)),
    "the id late": (piece("echo", index=0), piece("", HI[:4], index=0), piece("", HI[4:], id="c1", index=0)),
    "the name in pieces": (piece("ec", id="c1", index=0), piece("ho", HI, index=0)),
    "the name in pieces by order": (piece("ec"), piece("ho"), piece("", HI)),
    "the name in three pieces": (*(piece(part, index=0) for part in ("e", "c", "ho")), piece("", HI, index=0)),
    "the name so far on each piece": (piece("ec", index=0), piece("echo", index=0), piece("echo", HI, index=0)),
    "the name twice": (piece("echo", id="c1", index=0), piece("echo", index=0), piece("", HI, index=0)),
    "`{}` first": (piece("echo", "{}", id="c1", index=0), piece("", HI[:4], index=0), piece("", HI[4:], index=0)),
    "`{}` first, the name on each piece": (piece("echo", "{}", index=0), piece("echo", HI, index=0)),
    "null first": (piece("echo", "null", id="c1", index=0), piece("", HI, index=0)),
    "the whole call again": (
        piece("echo", id="c1", index=0),
        piece("", HI[:4], index=0),
        piece("", HI[4:], index=0),
        piece("echo", HI, id="c1", index=0),
    ),
    "the whole call again, written otherwise": (piece("echo", HI, index=0), piece("echo", '{ "text": "hi" }', index=0)),
    "the whole call again under its id": (piece("echo", HI, id="c1"), piece("echo", HI, id="c1")),
    "the whole arguments again": (piece("echo", HI[:4], index=0), piece("", HI[4:], index=0), piece("", HI, index=0)),
    "all arguments so far in each piece": (
        *(piece("", HI[:end], index=0) for end in (3, 7, 12)),
        piece("echo", HI, index=0),
    ),
    "the rest only as a whole": (piece("echo", HI[:4], id="c1", index=0), piece("", HI, index=0)),
}  # fmt: skip


@pytest.mark.parametrize("pieces", ONE_CALL.values(), ids=ONE_CALL)
def test_pieces_of_one_call(pieces: Sequence[CallDelta]) -> None:
    """However a server labels and cuts one call, it is one, with all of its arguments."""
    assert read(*pieces) == ECHO


TWO_CALLS = {
    "by index": (piece("add", A, id="c1", index=0), piece("add", B, id="c2", index=1)),
    "by index alone": (piece("add", A, index=0), piece("add", B, index=1)),
    "by index, with one id": (piece("add", A, id="c", index=0), piece("add", B, id="c", index=1)),
    "alternating by index": (
        *(piece("add", id=f"c{n}", index=n) for n in (0, 1)),
        *(piece("", part, index=n) for cut in (slice(3), slice(3, None)) for n, part in ((0, A[cut]), (1, B[cut]))),
    ),
    "alternating by id": (
        *(piece("add", id=call) for call in "ab"),
        *(piece("", part, id=n) for cut in (slice(3), slice(3, None)) for n, part in (("a", A[cut]), ("b", B[cut]))),
    ),
    "one index, ids of their own": (piece("add", A, id="c1", index=0), piece("add", B, id="c2", index=0)),
    "one index, ids, in pieces": (
        piece("add", id="c1", index=0),
        piece("", A, index=0),
        piece("add", id="c2", index=0),
        piece("", B[:4], index=0),
        piece("", B[4:], index=0),
    ),
    "one index, no ids": (piece("add", A, index=0), piece("add", B, index=0)),
    "one id, no index": (piece("add", A, id="call_add"), piece("add", B, id="call_add")),
    "ids that come late, then alone": (
        piece("add", index=0),
        piece("", A[:3], id="c1", index=0),
        piece("add", B[:3], id="c2", index=1),
        piece("", A[3:], id="c1"),
        piece("", B[3:], id="c2"),
    ),
    "ids, no index": (piece("add", A, id="c1"), piece("add", B[:4], id="c2"), piece("", B[4:])),
    "by order": (piece("add", A), piece("add", B)),
    "by order, in pieces": (piece("add"), piece("", A[:4]), piece("", A[4:]), piece("add", B[:5]), piece("", B[5:])),
    "gaps between the indices": (piece("add", A, id="c1", index=3), piece("add", B, id="c2", index=7)),
    "the second without a name at first": (piece("add", A, index=0), piece(id="c2", index=1), piece("add", B, index=1)),
}  # fmt: skip


@pytest.mark.parametrize("pieces", TWO_CALLS.values(), ids=TWO_CALLS)
def test_pieces_of_two_calls(pieces: Sequence[CallDelta]) -> None:
    """However a server labels two calls of one tool, they are two, in their order."""
    assert read(*pieces) == TWO


@pytest.mark.parametrize("arguments", ["", "{}", "null"])
@pytest.mark.parametrize(
    "labels",
    [
        [{}, {}],
        [{"id": "a"}, {"id": "b"}],
        [{"index": 0}, {"index": 1}],
        [{"id": "a", "index": 0}, {"id": "b", "index": 0}],
    ],
)
def test_two_calls_without_arguments(labels: list[dict[str, Any]], arguments: str) -> None:
    """`ping` twice is two calls, also by order alone."""
    assert read(*[piece("ping", arguments, **label) for label in labels]) == [("ping", {})] * 2


def test_names_that_are_not_pieces_of_one() -> None:
    """Two known tools are two calls, before there are arguments and without any label; so are unknown ones by order."""
    both = [("ping", {}), ("echo", {"text": "hi"})]
    assert read(piece("ping"), piece("echo", HI)) == both
    assert read(piece("ping", index=0), piece("echo", HI, index=0)) == both
    assert read(piece("search"), piece("fetch", HI)) == [("search", {}), ("fetch", {"text": "hi"})]
    assert read(piece("ping", "{}", index=0), piece("search", HI, index=0)) == [
        ("ping", {}),
        ("search", {"text": "hi"}),
    ]
    assert read(piece("add"), piece("_all", HI)) == [("add_all", {"text": "hi"})]


def test_unknown_names_are_joined_under_one_label() -> None:
    """The names of tools that the upstream runs aren't known here: an index or an id joins their pieces."""
    for label in ({"index": 0}, {"id": "c1"}):
        assert read(piece("sea", **label), piece("rch", HI, **label)) == [("search", {"text": "hi"})]


def test_a_call_of_another_name_in_the_middle_of_arguments() -> None:
    """Arguments that break off don't swallow the call after them."""
    assert read(piece("echo", '{"te', index=0), piece("ping", "{}", index=0)) == [("echo", '{"te'), ("ping", {})]
    assert read(piece("echo", '{"te', id="a", index=0), piece("echo", HI, id="b", index=0)) == [("echo", '{"te'), *ECHO]


def test_what_belongs_to_a_call_beside_its_arguments() -> None:
    """Its first id stays, and each key that has to go back with it is kept, whichever piece brings it."""
    [call] = gathered(
        piece("echo", id="a", index=0, extra_content={"google": {"thought_signature": "c2ln"}}),
        piece("", HI, id="b", index=0, note=1),
    )
    assert call.call_id == "a"
    assert call.extra == {"extra_content": {"google": {"thought_signature": "c2ln"}}, "note": 1}


def test_more_calls_than_a_turn_may_have() -> None:
    """The limit is met when one more call begins, not when all of them are there."""
    assert len(gathered(*[piece("ping", "{}") for _ in range(3)], most=3)) == 3
    with pytest.raises(TooManyCalls):
        gathered(*[piece("ping", "{}") for _ in range(4)], most=3)


@pytest.mark.parametrize("endless", [piece("x" * 300, index=0), piece("", "x" * (MAX_NAMELESS + 1), index=0)])
def test_a_name_that_does_not_end_or_come(endless: CallDelta) -> None:
    """The pieces that are kept until a call has its name are bounded."""
    with pytest.raises(UpstreamProtocol):
        gathered(endless)


def test_a_chunk_of_very_many_calls_or_results() -> None:
    """Of those in one chunk no more are looked at than it takes to fail the turn."""
    calls = [{"index": n, "function": {"name": "one", "arguments": "{}"}} for n in range(5000)]
    results = [{"tool_name": "one", "result": n} for n in range(5000)]
    for chunk in ({"choices": [{"delta": {"tool_calls": calls}}]}, {"choices": [], "mcp_tool_results": results}):
        deltas = ChatChunks().feed(f"data: {json.dumps(chunk)}\n\n".encode())
        assert len(deltas) == MAX_CALLS > Settings.model_fields["max_calls_per_turn"].metadata[1].le


def test_an_event_of_very_many_values() -> None:
    """It would keep every stream waiting while it is parsed; much text is no matter."""
    for content, fits in (([{}] * 100_000, False), ("x" * 1_000_000, True)):
        chunks = ChatChunks()
        chunks.feed(f"data: {json.dumps({'choices': [{'delta': {'content': content}}]})}\n\n".encode())
        assert chunks.malformed is not fits


NOTHING = ("", " \n", "null", "{}", '""', "{}{}", "null null", '"null"', '"{}"')


@pytest.mark.parametrize("written", NOTHING)
def test_no_arguments(written: str) -> None:
    """Each way in which servers write that there are none."""
    assert read_arguments([written]) == Arguments({})
    assert read_arguments(["{ }"]) == Arguments({}, "{ }")


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([HI], HI),
        (['{"text"', ' : "hi"}'], '{"text" : "hi"}'),
        (["{ }", HI], HI),
        (["{}", HI], HI),
        ([HI, "{}"], HI),
        (["null", HI[:4], HI[4:]], HI),
        ([HI[:4], HI[4:], HI], HI),
        ([HI, ' {"text": "hi"}'], HI),
        ([HI, HI, HI], HI),
        ([HI[:4], HI[:9], HI], HI),
        ([HI[:4], HI], HI),
        ([json.dumps(HI)], HI),
    ],
)
def test_arguments_that_do_not_come_once_and_whole(pieces: list[str], text: str) -> None:
    """They are one object all the same, and go back to the server byte for byte."""
    assert read_arguments(pieces) == Arguments({"text": "hi"}, text)


@pytest.mark.parametrize(
    "pieces",
    [
        ['{"a":1}{"a":2}'],
        ['{"te'],
        ["{", "x", "}"],
        ["[1]"],
        ["12"],
        ["true"],
        ['"hi"'],
        ['{"a":NaN}'],
        ['{"a":1e400}'],
        [HI, "x"],
        ["{}" * 17],
        ["[" * 5000],
        ['{"a":' + "[" * 64 + "]" * 64 + "}"],
        ['{"a":[' + "{}," * 30_000 + "{}]}"],
    ],
)
def test_invalid_arguments(pieces: list[str]) -> None:
    """Arguments that aren't one object, or are too large, are reported as text, and an empty object is sent back."""
    assert read_arguments(pieces) == Arguments({}, "{}", "".join(pieces))


def test_surrogates_in_arguments() -> None:
    """Pairs go back as they came; a half one is replaced in what goes back, too."""
    assert read_arguments(['{"a":"\\ud83d\\ude00"}']) == Arguments({"a": "😀"}, '{"a":"\\ud83d\\ude00"}')
    assert read_arguments(['{"a":"\\ud83d"}']) == Arguments({"a": "\ufffd"}, '{"a":"\ufffd"}')


# Any server's labels with any of its oddities

LABELS = ("index and id first", "index and id", "id", "order", "shared index", "an id a piece")
INTERLEAVED = ("index and id first", "index and id", "id", "an id a piece")
VALUES = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9) | st.text('{}[]\\"ü ', max_size=5), max_size=2)


def labels(way: str, call: int, place: int) -> dict[str, Any]:
    """The index and id of a call's piece, as one kind of server gives them."""
    match way:
        case "index and id first":
            return {"index": call} | ({} if place else {"id": f"c{call}"})
        case "index and id":
            return {"index": call, "id": f"c{call}"}
        case "id":
            return {"id": f"c{call}"}
        case "shared index":
            return {"index": 0} | ({} if place else {"id": f"c{call}"})
        case "an id a piece":
            return {"index": call, "id": f"c{call}-{place}"}
        case _:
            return {}


@st.composite
def streamed(draw: st.DrawFn) -> tuple[list[CallDelta], list[tuple[str, Any]]]:
    """Pieces of some calls, and these calls."""
    way = draw(st.sampled_from(LABELS))
    calls = draw(st.lists(st.tuples(st.sampled_from((*KNOWN, "search")), VALUES), min_size=1, max_size=3))
    streams: list[list[CallDelta]] = []
    for number, (name, value) in enumerate(calls):
        text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from((None, 1))))
        cuts = sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=3)))
        parts = [text[start:end] for start, end in zip((0, *cuts), (*cuts, len(text)), strict=True)]
        repeats = draw(st.booleans())
        names = [name, *[name if repeats and way != "an id a piece" else "" for _ in parts]]
        if way != "order":
            parts = [draw(st.sampled_from(("", "{}", "null"))), *parts]
            if draw(st.booleans()) and value and way != "an id a piece":
                parts, names = [*parts, text], [*names, name]
        pieces = [
            piece(n, part, **labels(way, number, place))
            for place, (n, part) in enumerate(zip(names, parts, strict=False))
        ]
        streams.append(pieces)
    if way in INTERLEAVED:
        order = draw(st.permutations([n for n, pieces in enumerate(streams) for _ in pieces]))
        taken = [iter(pieces) for pieces in streams]
        first = list(dict.fromkeys(order))
        return [next(taken[n]) for n in order], [calls[n] for n in first]
    return [one for pieces in streams for one in pieces], calls


@given(streamed())
def test_calls_survive_any_labels(said: tuple[list[CallDelta], list[tuple[str, Any]]]) -> None:
    """Each call with its own arguments, in the order in which they began; none is lost, split or joined."""
    pieces, calls = said
    assert read(*pieces) == calls


@pytest.mark.parametrize("arguments", ["}", '"}', '{"a":1}'])
def test_a_name_on_every_piece_costs_no_quadratic_time(arguments: str) -> None:
    """Whether the arguments are whole is looked at in bounded text; beyond it the pieces are those of one call."""
    started = time.process_time()
    calls = gathered(*[piece("echo", arguments, id="c1", index=0)] * 10_000)
    assert time.process_time() - started < 2
    assert len(calls) == 1
    assert calls[0].arguments.invalid is not None or calls[0].arguments.value == {"a": 1}
