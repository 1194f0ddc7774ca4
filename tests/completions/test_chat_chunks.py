"""The readers of both wires: `ChatChunks`, which reads the upstream's chunks, and the clients that read our frames.

Their results are compared with an independent reader, httpx-sse. `tests/world/live/test_sse_parser.py` compares them
with another one, in Node.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import httpx
import pytest
from event_frames import END, any_event, frames_of, written
from grammar import parse_frames
from httpx_sse import EventSource, ServerSentEvent
from hypothesis import assume, example, given
from hypothesis import strategies as st
from odd_texts import clean_texts, halves, json_values, texts, whole
from stream_bodies import (
    ONE_LINE_END,
    Cut,
    Json,
    Kind,
    Said,
    chunk_of,
    cuts,
    in_bytes,
    interpreted,
    kinds,
    read,
    same,
    soups,
    utf8,
)

from event_data import (
    EventData,
    PartialOutput,
    StepStarted,
    Thinking,
    ToolResult,
    ToolUseDelta,
)
from event_logs.base import Fenced
from event_logs.frames import MAX_DELTA_BYTES, FrameQueue
from events import EVENT_TYPES, STREAM_EVENT
from json_codec.text import Mender, loads, loads_exactly, mend, mend_text
from services.completions.chunks import CallDelta, ChatChunks, Delta, HostedResult, TextDelta, ThinkingDelta

# Texts


@given(texts)
@example("\ud83d\ud83d\ude00")
@example("\ufeff\ufeffö\ud83d")
def test_a_text_is_mended(text: str) -> None:
    """Pairs are joined, halves become U+FFFD, and all other text is unchanged."""
    assert mend_text(text) == whole(text)


@given(st.lists(texts, max_size=6))
def test_a_text_that_comes_in_pieces_is_mended(pieces: list[str]) -> None:
    """However a text is cut, also within a pair, its pieces make the same text, and each piece can be encoded."""
    mender = Mender()
    mended_pieces = [*map(mender.feed, pieces), mender.flush()]
    assert "".join(mended_pieces) == whole("".join(pieces))
    assert all(piece.encode() is not None for piece in mended_pieces)
    assert not mender


def mended(value: Any) -> Any:
    """The value with each of its texts mended."""
    match value:
        case str():
            return whole(value)
        case list():
            return [mended(item) for item in value]
        case dict():
            return {whole(key): mended(item) for key, item in value.items()}
        case _:
            return value


@given(json_values, st.booleans())
def test_json_from_elsewhere(value: Any, ascii_only: bool) -> None:
    """A JSON value is read with every digit, and its texts are mended whether or not their halves were escaped."""
    written = json.dumps(value, ensure_ascii=ascii_only)
    assert json.dumps(loads_exactly(written)) == json.dumps(mended(value))
    assert json.dumps(mend(value)) == json.dumps(mended(value))


@given(json_values)
def test_the_fast_parser_is_taken_only_where_nothing_is_torn(value: Any) -> None:
    """Text that may hold half a pair is marked as torn; text that isn't marked can be encoded."""
    read, torn = loads(json.dumps(value))
    if not torn:
        assert json.dumps(read, ensure_ascii=False).encode() is not None
        rounded = any(isinstance(number, int) and number.bit_length() > 63 for number in leaves(value))
        assert rounded or read == mended(value)


def leaves(value: Any) -> Iterator[Any]:
    match value:
        case list():
            for item in value:
                yield from leaves(item)
        case dict():
            for item in value.values():
                yield from leaves(item)
        case _:
            yield value


@pytest.mark.parametrize("written", ["", " ", "NaN", "[Infinity]", "-Infinity", "1e999", "[-1e999]", '{"a":1', "'a'"])
def test_what_is_no_json(written: str) -> None:
    """A malformed number is refused like any other text that no JSON encoder writes."""
    with pytest.raises(ValueError, match=r"."):
        loads(written)
    with pytest.raises(ValueError, match=r"."):
        loads_exactly(written)


# Bodies of an upstream, and their content


def can_end(kind: str, text: str) -> bool:
    """Whether a text of that kind can be the last. Arguments that end in half a pair are no JSON with or without it."""
    return kind in {"text", "thinking"} or not "\ud800" <= text[-1:] <= "\udbff"


@st.composite
def events(draw: st.DrawFn, data: str, end: str = "\n") -> str:
    """An event with this data, in one of the many ways in which it can be written."""
    lines = [f"data:{draw(st.sampled_from(['', ' ']))}{line}" for line in data.split("\n")]
    noise = st.sampled_from([": a comment", ":", "id: 7", "retry: 10", "event: message", "unknown: x", "unknown"])
    for line in draw(st.lists(noise, max_size=2)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    return "".join(f"{line}{end}" for line in [*lines, ""])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, Said]:
    """A stream of interleaved deltas in any notation, and its content."""
    said = Said(finish_reason="stop", over="done")
    ends = st.sampled_from(["\n", "\r\n", "\r"])
    notations: list[Callable[[Any], str]] = [json.dumps, utf8, indented]
    body = draw(st.sampled_from(["", "\ufeff"]))
    for kind, text in draw(st.lists(st.tuples(kinds, texts), max_size=8)):
        said.add(kind, text)
        body += draw(events(notations[draw(st.integers(0, 2))](chunk_of(kind, text)), draw(ends)))
        body += draw(st.sampled_from(["", "\n\r\n", ": ping\n\n", "id: 8\n\n", "event: ping\n\n", "data: \n\n"]))
    for name, text in said.texts.items():
        assume(can_end(name, text))
        said.texts[name] = whole(text)
    finish = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    body += draw(events(json.dumps(finish), draw(ends))) + draw(events("[DONE]", draw(ends)))
    return body.encode(), said


def indented(value: Any) -> str:
    """JSON over several lines, which become several lines of data."""
    return json.dumps(value, indent=1)


@given(bodies(), cuts())
def test_a_stream_says_the_same_however_it_is_written_and_cut(body: tuple[bytes, Said], cut: Cut) -> None:
    """Line ends, comments, lines of data, escapes, halves of pairs and reads don't change what a stream says."""
    written, said = body
    same(read(cut(written)), said)


@given(texts, kinds, cuts())
def test_pairs_cut_between_deltas_are_joined(text: str, kind: Kind, cut: Cut) -> None:
    """The text is the same if each half of each pair has a delta of its own, with a delta of another kind after it."""
    other: Kind = "thinking" if kind == "text" else "text"
    assume(can_end(kind, text))
    chunks = [chunk for half in halves(text) for chunk in (chunk_of(kind, half), chunk_of(other, "-"))]
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    said = Said()
    said.add(kind, whole(text))
    said.add(other, "-" * len(halves(text)))
    same(read(cut(body.encode())), said)


@pytest.mark.parametrize("size", [4096, 65536, 1 << 30])
@pytest.mark.parametrize("character", ["a", "ö", "😀", "\u2028"])
@pytest.mark.parametrize("kind", ["text", "thinking", "call 0"])
def test_a_delta_of_a_megabyte(kind: Kind, character: str, size: int) -> None:
    """A server that doesn't stream sends everything at once, which arrives in many reads."""
    text = character * ((1 << 20) // len(character.encode()))
    body = f"data: {utf8(chunk_of(kind, text))}\n\n".encode()
    said = read([body[start : start + size] for start in range(0, len(body), size)])
    assert said.texts == {kind: text}


# Damaged bytes


@st.composite
def torn_bodies(draw: st.DrawFn) -> bytes:
    """A good body in which some bytes were replaced, removed or inserted."""
    body = bytearray(draw(bodies())[0])
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, len(body)))
        body[position : position + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(body)


def loose(*keys: str) -> st.SearchStrategy[Json]:
    return st.dictionaries(st.sampled_from(keys), st.deferred(lambda: anything), max_size=len(keys))


anything: st.SearchStrategy[Any] = st.one_of(
    json_values,
    st.lists(st.deferred(lambda: anything), max_size=2),
    loose("choices", "usage", "error", "detail", "mcp_tool_results", "correlation_id"),
    loose("delta", "finish_reason", "index"),
    loose("content", "refusal", "reasoning", "thinking", "text", "type", "tool_calls"),
    loose("index", "id", "type", "function", "thought_signature"),
    loose("name", "arguments"),
    loose("tool_name", "server_name", "arguments", "result", "is_error", "duration_ms"),
    loose("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"),
    st.sampled_from([1e300, -1, 10**30, True, "1", "\ud800"]),
)


@st.composite
def misshapen(draw: st.DrawFn) -> bytes:
    """A chunk with the known keys around values of any kind."""
    delta = st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(("content", "reasoning", "thinking", "tool_calls", "refusal"), anything),
    )
    choice = st.fixed_dictionaries({}, optional={"delta": delta | anything, "finish_reason": anything})
    chunk = st.fixed_dictionaries(
        {},
        optional={
            "choices": st.lists(choice, max_size=2) | anything,
            "usage": anything,
            "mcp_tool_results": st.lists(
                st.fixed_dictionaries(
                    {"tool_name": anything},
                    optional=dict.fromkeys(("server_name", "arguments", "result", "is_error", "duration_ms"), anything),
                )
            )
            | anything,
            "correlation_id": anything,
        },
    )
    name = draw(st.sampled_from(["", "event: error\n"]))
    return f"{name}data: {json.dumps(draw(chunk | anything))}\n\n".encode()


def well_formed(delta: Delta) -> bool:
    """Whether a delta has the types that it declares, and can be written as JSON in UTF-8."""
    json.dumps(tuple(delta), ensure_ascii=False, allow_nan=False).encode()
    match delta:
        case TextDelta(str()) | ThinkingDelta(str()):
            return True
        case CallDelta(int() | None, str(), str(), str(), dict()):
            return True
        case HostedResult(str(), str() | None, dict(), _, bool(), int() | None):
            return True
        case _:
            return False


@given(st.binary() | torn_bodies() | misshapen(), cuts())
@example(b'data: {"mcp_tool_results":[{"tool_name":"x","duration_ms":1e999}]}\n\n', in_bytes)
@example(b'data: {"mcp_tool_results":[{"tool_name":[],"server_name":{},"arguments":5,"is_error":"x"}]}\n\n', in_bytes)
@example(b'data: {"choices":[{"delta":{"tool_calls":[{"index":[],"id":{},"function":{"name":5}}]}}]}\n\n', in_bytes)
@example(b"event: error\ndata: null\n\n", in_bytes)
@example(b"data: " + b"[" * 100_000 + b"\n\n", lambda body: [body])
@example(b"data: " + b'{"a":' * 100_000 + b"\n\n", lambda body: [body])
def test_no_bytes_are_too_odd(body: bytes, cut: Cut) -> None:
    """No bytes raise an exception: they are read, or the stream is malformed or an error; every delta is sound."""
    chunks = ChatChunks()
    for piece in cut(body):
        if not chunks.over:
            assert all(map(well_formed, chunks.feed(piece)))
    assert all(map(well_formed, chunks.flush()))
    json.dumps(chunks.reasoning, ensure_ascii=False).encode()
    assert isinstance(chunks.finish_reason, str | None)
    assert isinstance(chunks.reports.correlation_id, str | None)


@given(st.lists(st.sampled_from([b'{"a":', b"[", b'"\\ud83d"', b"1", b"}", b"]", b","]), max_size=400).map(b"".join))
def test_deep_nesting_is_malformed_at_worst(data: bytes) -> None:
    """Data nested deeper than a parser allows is no chunk."""
    chunks = ChatChunks()
    chunks.feed(b"data: " + data + b"\n\n")
    assert chunks.malformed or chunks.error_data or not chunks.over


# Independent readers


def by_httpx_sse(pieces: Sequence[bytes]) -> list[ServerSentEvent]:
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=iter(pieces))
    return list(EventSource(response).iter_sse())


@given(soups(), cuts())
@example(b'data: {"choices":[{"delta":{"content":"a"}}]}\r\r', in_bytes)
@example(b"data\ndata: [DONE]\n\n", in_bytes)
@example(b"data: \n\n", in_bytes)
@example(b'data: {"choices":[{"delta":{"content":"a"}}]}\r\n\r\ndata: [DONE]\r\n\r\n', in_bytes)
def test_another_reader_finds_the_same_events(body: bytes, cut: Cut) -> None:
    """For any lines in any order, cut anywhere, the events are those that httpx-sse finds.

    The exception: two objects with one line end between them are one event to it, and two here.
    """
    assume(not ONE_LINE_END.search(body))
    httpx_sse = by_httpx_sse(cut(body.removeprefix(b"\xef\xbb\xbf")))
    same(read(cut(body)), interpreted([(event.event, event.data) for event in httpx_sse]))


# Our frames


@given(st.lists(any_event, max_size=5), cuts())
def test_every_reader_reads_our_frames_byte_for_byte(data: list[EventData], cut: Cut) -> None:
    """Whatever texts, names and values events have, and however they are cut, each reader returns the bytes written."""
    body = b": ping\n\n" + b": ping\n\n".join(frames_of([*data, END]))
    frames = body.replace(b": ping\n\n", b"")
    parsed = parse_frames(body)
    assert written([(str(e["seq"]), e["event"], json.dumps(e, separators=(",", ":"))) for e in parsed]) == frames
    ids = [event["seq"] for event in parsed]
    assert ids == list(range(1, len(ids) + 1))
    by_httpx = [event for event in by_httpx_sse(cut(body)) if event.data]  # it returns every comment as an event, too
    assert written([(event.id, event.event, event.data) for event in by_httpx]) == frames


@given(any_event)
def test_an_event_comes_back_as_it_was_put(data: EventData) -> None:
    """A frame's JSON is the event: parsed with its own model it equals what was written."""
    [event] = parse_frames(b"".join(frames_of([data])))
    assert event["event"] == EVENT_TYPES[type(data)]
    back = STREAM_EVENT.validate_python(event).data
    assert back.model_dump() == data.model_dump()
    assert json.dumps(event["data"]) == json.dumps(data.model_dump())


# Joining

deltas = st.one_of(
    st.builds(PartialOutput, content=clean_texts),
    st.builds(Thinking, content=clean_texts),
    st.builds(
        ToolUseDelta,
        tool_call_id=st.sampled_from("ab"),
        name=st.just("x"),
        arguments_delta=clean_texts,
        source=st.just("python"),
    ),
)
others = st.sampled_from(
    [
        StepStarted(step=1, model="m"),
        ToolResult(tool_call_id="a", name="x", content="", is_error=False, truncated=False),
    ]
)
puts = st.lists(st.tuples(deltas | others, st.integers(0, 3)), max_size=12)


def label(data: EventData) -> tuple[Any, ...]:
    """The fields that two neighbouring deltas must share to be one event."""
    match data:
        case PartialOutput() | Thinking():
            return (type(data),)
        case ToolUseDelta(tool_call_id=call):
            return (type(data), call)
        case _:
            return (type(data), id(data))


def text_of(data: Any) -> str:
    text: str = data.arguments_delta if isinstance(data, ToolUseDelta) else data.content
    return text


def data_of(frames: Sequence[bytes]) -> list[Any]:
    return [STREAM_EVENT.validate_python(event).data for event in parse_frames(b"".join(frames))]


def joined(data: Sequence[Any]) -> list[tuple[Any, str]]:
    """The events in order, with neighbouring deltas of a kind joined."""
    is_delta = (PartialOutput, Thinking, ToolUseDelta)
    labelled = [
        (label(item) if isinstance(item, is_delta) else (type(item), index), item) for index, item in enumerate(data)
    ]
    return [
        (key[0], "".join(text_of(item) if isinstance(item, is_delta) else "" for _, item in group))
        for key, group in groupby(labelled, key=lambda pair: pair[0])
    ]


@given(puts)
def test_commits_cut_a_text_and_lose_nothing(puts: list[tuple[EventData, int]]) -> None:
    """Whenever commits happen, the events have the same content in the same order, and are numbered without a gap."""
    queue = FrameQueue("run_1")
    frames: list[bytes] = []
    for data, commits in puts:
        queue.put(data)
        for _ in range(commits):
            frames += queue.take()
    frames += queue.take()
    assert joined(data_of(frames)) == joined([data for data, _ in puts])
    assert [event["seq"] for event in parse_frames(b"".join(frames))] == list(range(1, len(frames) + 1))
    assert queue.last_seq == len(frames)
    assert queue.take() == []


@given(st.lists(deltas | others, max_size=12))
def test_between_two_commits_neighbours_are_one_event(data: list[EventData]) -> None:
    """Deltas of one kind, and of one call, become one event; those of another call or step don't."""
    assert len(frames_of(data)) == len(joined(data))


@given(
    st.sampled_from(["a", "ö", "\u2028", "😀", '"', "\0"]),
    st.integers(0, 2 * MAX_DELTA_BYTES),
    st.sampled_from(["text", "thinking", "call"]),
    st.integers(1, 5),
)
@example("a", MAX_DELTA_BYTES - 2, "text", 1)
@example("a", MAX_DELTA_BYTES - 1, "text", 1)
@example("😀", MAX_DELTA_BYTES // 12, "call", 1)
def test_large_texts_are_split(character: str, length: int, kind: str, puts: int) -> None:
    """However many puts a text has, no piece is longer than 64 KiB as JSON, and together they are the text."""
    text = ("<" + character * length + ">") * puts
    size = len(text) // puts
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    call = ToolUseDelta(tool_call_id="c", name="x", arguments_delta="", source="python")
    make: dict[str, Callable[[str], EventData]] = {
        "text": lambda piece: PartialOutput(content=piece),
        "thinking": lambda piece: Thinking(content=piece),
        "call": lambda piece: call.model_copy(update={"arguments_delta": piece}),
    }
    texts = [text_of(data) for data in data_of(frames_of([make[kind](piece) for piece in pieces]))]
    assert "".join(texts) == text
    assert all(len(json.dumps(piece)) <= MAX_DELTA_BYTES for piece in texts)
    assert all(texts), "no piece is empty"


def test_nothing_comes_after_complete() -> None:
    """A writer that continues after the end of its run is refused, and no frame has its event."""
    queue = FrameQueue("run_1")
    queue.put(END)
    with pytest.raises(Fenced):
        queue.put(Thinking(content="late"))
    assert len(queue.take()) == 1
    assert queue.take() == []
