"""How a model server's stream ends, through the whole service: early finish reasons, waits, headers, empty answers."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from local_tools import LocalTool
from service import Service, names, only, service, text
from wire import (
    Cut,
    Done,
    EndBody,
    Finish,
    Head,
    Json,
    McpResults,
    Pause,
    RawBytes,
    RawChunk,
    Role,
    Stall,
    Step,
    Text,
    Thinking,
    ToolCall,
    answer,
    sse,
)

from services.upstreams import body_decoding
from services.upstreams.body_decoding import decoded

pytestmark = pytest.mark.anyio

HOSTED = {"input": "?", "mcp_servers": ["tsion/exa"]}
RESULT = {"tool_name": "search", "server_name": "exa", "arguments": {}, "result": "found", "is_error": False}
STALL_S = 2.0


async def ping(_: Any) -> str:
    return "pong"


@pytest.fixture(scope="module")
async def fake() -> AsyncIterator[FakeDedalus]:
    async with FakeDedalus() as fake:
        yield fake


@pytest.fixture(scope="module")
async def agent(fake: FakeDedalus) -> AsyncIterator[Service]:
    async with service(fake.url, {"ping": LocalTool("ping", ping)}, stall_timeout_s=STALL_S) as agent:
        yield agent


@pytest.fixture
def last_words_1_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long enough for a busy machine, and shorter than the answers of these tests."""
    monkeypatch.setattr("services.upstreams.model_turn.AFTER_FINISH_S", 1.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that waits only briefly for the end of a stream after a finish reason."""
    monkeypatch.setattr("services.upstreams.model_turn.AFTER_FINISH_S", 0.3)


def early(delta: Json, reason: str | None = "stop") -> RawChunk:
    return RawChunk({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def piece(arguments: str) -> Json:
    return {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "ping", "arguments": arguments}}]}


@pytest.mark.parametrize(
    "reasons", [("stop",) * 5, ("stop", None, None, None, None), ("length", "stop", None, "", "stop")]
)
@pytest.mark.usefixtures("last_words_1_s")
async def test_an_early_finish_reason_ends_nothing(
    reasons: tuple[str | None, ...], fake: FakeDedalus, agent: Service
) -> None:
    """Each piece that still arrives belongs to the answer and restarts the wait; the last finish reason counts."""
    steps = [
        step
        for number, reason in enumerate(reasons)
        for step in (early({"content": f"w{number} "}, reason), Pause(0.3))
    ]
    fake.turn(*steps, Done())
    events = await agent.stream({"input": "?", "tools": []})
    assert text(events) == "w0 w1 w2 w3 w4 "
    assert events[-1]["data"]["finish_reason"] == "stop"


@pytest.mark.usefixtures("last_words_1_s")
async def test_early_reasons_on_thinking_and_on_pieces_of_calls(fake: FakeDedalus, agent: Service) -> None:
    """Early finish reasons may accompany any kind of piece: the thinking is whole, and so is the call."""
    fake.turn(
        *(early({"reasoning_content": "Hm "}), Pause(0.4), early({"reasoning_content": "hm."}), Pause(0.4)),
        *(early(piece('{"a"')), Pause(0.4), early({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]})),
        Done(),
    )
    fake.turn(*answer("ok"))
    events = await agent.stream({"input": "?"})
    assert text(events, "thinking") == "Hm hm."
    assert [use["arguments"] for use in only(events, "tool_use")] == [{"a": 1}]
    assert text(events) == "ok"


@pytest.mark.usefixtures("impatient")
async def test_a_reason_before_the_answer_ends_nothing(fake: FakeDedalus, agent: Service) -> None:
    """A server that sends `stop` beside the role has the ordinary time until its first piece."""
    fake.turn(early({"role": "assistant", "content": ""}), Pause(0.6), early({"content": "Hello"}, None), Done())
    assert text(await agent.stream({"input": "?"})) == "Hello"
    fake.turn(early({"role": "assistant", "content": ""}), Stall())
    events = await agent.stream({"input": "?"})
    assert [error["code"] for error in only(events, "error")] == ["upstream_stalled"]


@pytest.mark.usefixtures("impatient")
async def test_a_reason_beside_a_piece_of_a_call_ends_nothing(fake: FakeDedalus, agent: Service) -> None:
    """More arguments may follow, so the call is run neither after silence nor after a broken connection."""
    fake.turn(early(piece("")), Pause(0.6), early(piece('{"a":1}')), Done())
    fake.turn(*answer("ok"))
    assert [use["arguments"] for use in only(await agent.stream({"input": "?"}), "tool_use")] == [{"a": 1}]
    for end, code in ((Stall(), "upstream_stalled"), (Cut(reset=True), "upstream_disconnected")):
        fake.turn(early(piece("")), end)
        events = await agent.stream({"input": "?"})
        assert [error["code"] for error in only(events, "error")] == [code]


async def test_an_answer_without_a_reason_runs_no_call_without_arguments(fake: FakeDedalus, agent: Service) -> None:
    """Without a finish reason the arguments may be missing. A call that has arguments is run."""
    for arguments, failed in (("", True), ("{}", False)):
        fake.turn(early(piece(arguments), None), Done())
        fake.turn(*answer("ok"))
        [result] = only(await agent.stream({"input": "?"}), "tool_result")
        assert result["is_error"] is failed


@pytest.mark.parametrize(
    "odd", [{"duration_ms": "12"}, {"duration_ms": -5}, {"duration_ms": [1]}, {"is_error": "false"}]
)
async def test_odd_accounts_of_a_hosted_tool_lose_nothing(odd: Json, fake: FakeDedalus, agent: Service) -> None:
    """A duration that isn't a number is ignored, and only a result that reports an error is an error."""
    fake.turn(McpResults([RESULT | odd]), Text("Found."), Finish(), Done())
    events = await agent.stream({"input": "?", "tools": []})
    [result] = only(events, "tool_result")
    assert (text(events), result["is_error"]) == ("Found.", False)


@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.usefixtures("impatient")
async def test_a_server_that_runs_tools_has_the_ordinary_time(
    reason: str, named: bool, fake: FakeDedalus, agent: Service
) -> None:
    """Silence after a hosted call means that the tool is working, with or without `mcp_servers` in the request."""
    request = HOSTED if named else {"input": "?", "tools": []}
    fake.turn(
        *(Text("Let me look. "), ToolCall("c1", "search", "{}"), Finish(reason), Pause(0.6)),
        *(McpResults([RESULT]), Pause(0.6), Text("Found."), Finish(), Done()),
    )
    events = await agent.stream(request)
    assert text(events) == "Let me look. Found."
    assert [result["content"] for result in only(events, "tool_result")] == ["found"]
    assert events[-1]["data"]["status"] == "succeeded"


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_never_answers_after_its_tool_has_stalled(fake: FakeDedalus, agent: Service) -> None:
    """A stream that ends before the answer to a hosted tool has come is not a success."""
    fake.turn(ToolCall("c1", "search", "{}"), Finish("tool_calls"), Stall())
    events = await agent.stream(HOSTED)
    assert [error["code"] for error in only(events, "error")] == ["upstream_stalled"]


@pytest.mark.usefixtures("impatient")
async def test_a_call_of_ours_is_not_waited_for(fake: FakeDedalus, agent: Service) -> None:
    """No answer is due after a call of this service's tools: it is run after the short wait for the stream's end."""
    fake.turn(ToolCall("c1", "ping", "{}"), Finish("tool_calls"), Stall())
    fake.turn(*answer("ok"))
    events = await agent.stream({**HOSTED, "tools": ["ping"]})
    assert text(events) == "ok"


# Headers and encodings

BODY = b"".join(sse({"choices": [{"index": 0, "delta": {"content": word}}]}) for word in ("Hel", "lo"))
BODY += sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}) + b"data: [DONE]\n\n"
WHOLE = json.dumps(
    {
        "id": "c1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
).encode()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def each_packed(data: bytes) -> bytes:
    """Compress each event as a gzip member of its own."""
    return b"".join(gzip.compress(part + b"\n\n") for part in data.split(b"\n\n") if part)


ENCODINGS: dict[str, tuple[dict[str, str], Callable[[bytes], bytes]]] = {
    "JSON's type": ({"content-type": "application/json"}, bytes),
    "plain text": ({"content-type": "text/plain; charset=utf-8"}, bytes),
    "an unknown type": ({"content-type": "application/octet-stream"}, bytes),
    "no encoding": ({"content-encoding": "none"}, bytes),
    "identity": ({"content-encoding": "Identity"}, bytes),
    "gzip": ({"content-encoding": "gzip"}, gzip.compress),
    "gzip without its header": ({}, gzip.compress),
    "gzip in the header alone": ({"content-encoding": "gzip"}, bytes),
    "Brotli in the header alone": ({"content-encoding": "br"}, bytes),
    "members": ({"content-encoding": "gzip"}, each_packed),
    "deflate": ({"content-encoding": "deflate"}, zlib.compress),
    "zlib without its header": ({}, zlib.compress),
    "raw deflate": ({"content-encoding": "deflate"}, raw_deflate),
}


@pytest.mark.parametrize("split", [None, 1])
@pytest.mark.parametrize("body", [BODY, WHOLE], ids=["a stream", "a whole completion"])
@pytest.mark.parametrize("name", ENCODINGS)
async def test_the_bytes_count_and_not_the_headers(
    name: str, body: bytes, split: int | None, fake: FakeDedalus, agent: Service
) -> None:
    """A good answer is read under any headers, however it is compressed and split."""
    headers, packed = ENCODINGS[name]
    fake.turn(Head(headers), RawBytes(packed(body)), EndBody(), split=split)
    events = await agent.stream({"input": "?"})
    assert (text(events), events[-1]["data"]["status"]) == ("Hello", "succeeded")
    assert events[-1]["data"]["usage"]["total_tokens"] == (5 if body == WHOLE else None)


async def test_a_packed_stream_comes_as_it_is_written(fake: FakeDedalus, agent: Service) -> None:
    """Bytes that a server flushes are passed on at once, and not at the end."""
    packer = zlib.compressobj(wbits=31)
    first, rest = BODY[:50], BODY[50:]
    start = packer.compress(first + rest[:100]) + packer.flush(zlib.Z_SYNC_FLUSH)
    fake.turn(Head({"content-encoding": "gzip"}), RawBytes(start), Stall())
    events = await agent.stream({"input": "?"})
    assert [error["code"] for error in only(events, "error")] == ["upstream_stalled"]
    assert text(events) == "Hello"


@pytest.mark.parametrize(
    "body",
    [b"\x1f\x8b\x08" + b"\x00" * 7 + b"\xff" * 40, b"\x28\xb5\x2f\xfd" + b"\x00" * 40],
    ids=["broken gzip", "Zstandard"],
)
async def test_what_cannot_be_unpacked(body: bytes, fake: FakeDedalus, agent: Service) -> None:
    """Broken gzip, or an encoding that isn't supported, is reported as an upstream error."""
    fake.turn(Head({"content-encoding": "gzip"}), RawBytes(body), EndBody())
    events = await agent.stream({"input": "?"})
    assert [error["code"] for error in only(events, "error")] == ["upstream_protocol"]


async def test_a_packed_body_is_unpacked_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte that arrived as a kilobyte uses the memory of one slice at a time, and other tasks run in between."""
    monkeypatch.setattr(body_decoding, "SLICE", 10_000)
    bomb = [gzip.compress(b":" * 1_000_000), b"", b""]

    async def read() -> bytes:
        return bomb.pop(0)

    data, more = await decoded(read, "")
    slices = [data]
    while data := await more():
        slices.append(data)
    assert b"".join(slices) == b":" * 1_000_000
    assert max(map(len, slices)) == 10_000


# Empty answers

CALLED: list[Step] = [Finish("tool_calls"), Done()]


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([Done()], "unknown"),
        ([Role(), Finish(), Done()], "stop"),
        ([Text("  \n"), Finish(), Done()], "stop"),
        ([Thinking("Hm."), Finish(), Done()], "stop"),
        (CALLED, "tool_calls"),
        ([Text("Let me look."), *CALLED], "tool_calls"),
        ([early({"tool_calls": []}, "tool_calls"), Done()], "tool_calls"),
        ([Finish("length"), Done()], "length"),
        ([Finish("content_filter"), Done()], "content_filter"),
        ([RawBytes(b'{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}')], "stop"),
    ],
)
async def test_an_empty_answer_has_a_warning(steps: list[Step], reason: str, fake: FakeDedalus, agent: Service) -> None:
    """The status doesn't distinguish an empty answer from a good one, so a warning follows the step."""
    fake.turn(*steps)
    events = await agent.stream({"input": "?"})
    assert [warning["code"] for warning in only(events, "warning")] == ["empty_answer"]
    assert names(events)[-4:] == ["step_finished", "warning", "final_output", "complete"]
    assert (events[-1]["data"]["status"], events[-1]["data"]["finish_reason"]) == ("succeeded", reason)


@pytest.mark.parametrize(
    "steps",
    [
        [Text("Hi"), Finish(), Done()],
        [early({"refusal": "No."}, None), Finish(), Done()],
        [ToolCall("c1", "search", "{}"), McpResults([RESULT]), Finish("tool_calls"), Done()],
    ],
)
async def test_an_answer_that_is_not_empty_has_none(steps: list[Step], fake: FakeDedalus, agent: Service) -> None:
    """An answer with text, a refusal or a hosted call has no warning."""
    fake.turn(*steps)
    assert only(await agent.stream({"input": "?", "tools": []}), "warning") == []


async def test_thinking_tags_by_the_settings(fake: FakeDedalus) -> None:
    """Thinking tags are recognised for models that are known to write them; a setting decides for any other model."""
    script = [Text("<thi", "nk>Hm.</th", "ink>", "Hello"), Finish(), Done()]
    fake.always(*script)
    known, other = "DeepSeek-R1:8b", "my-model"
    async with service(fake.url) as usual, service(fake.url, think_tags="my-*") as mine:
        for agent, tagged, plain in ((usual, known, other), (mine, other, known)):
            events = await agent.stream({"input": "?", "model": tagged})
            assert (text(events, "thinking"), text(events)) == ("Hm.", "Hello")
            events = await agent.stream({"input": "?", "model": plain})
            assert (text(events, "thinking"), text(events)) == ("", "<think>Hm.</think>Hello")
    async with service(fake.url, think_tags="none", think_tags_opened="my-model") as opened:
        fake.turn(Text("Hm.", "</think>", "Hello"), Finish(), Done())
        events = await opened.stream({"input": "?", "model": other})
        assert (text(events, "thinking"), text(events)) == ("Hm.", "Hello")
