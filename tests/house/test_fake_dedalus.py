"""Tests the fake upstream: what it sends, refuses and records, and how it fails."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from dedalus_labs import AsyncDedalus, AuthenticationError, BadRequestError, Dedalus
from fake_dedalus import FakeDedalus, Split
from wire import (
    Comment,
    Cut,
    Done,
    EndBody,
    ErrorData,
    ErrorEvent,
    Finish,
    Gate,
    Head,
    Html,
    Json,
    McpResults,
    Pause,
    RawBytes,
    RawChunk,
    Role,
    Stall,
    Status,
    Step,
    Text,
    Thinking,
    ToolCall,
    Usage,
    UsageChunk,
    WaitFor,
    answer,
)

from services.upstreams.http_client import UpstreamClient

pytestmark = pytest.mark.anyio
QUESTION: Any = {"role": "user", "content": "Hi"}
BODY: Json = {"model": "openai/gpt-4.1", "messages": [QUESTION], "stream": True}
CHAT = "/v1/chat/completions"


@pytest.fixture
async def fake() -> AsyncIterator[FakeDedalus]:
    async with FakeDedalus() as server:
        yield server


@pytest.fixture
async def http(fake: FakeDedalus) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=fake.url) as client:
        yield client


@pytest.fixture
async def dedalus(fake: FakeDedalus) -> AsyncIterator[AsyncDedalus]:
    async with AsyncDedalus(
        api_key="key", base_url=fake.url, max_retries=0, http_client=UpstreamClient(max_connections=10)
    ) as client:
        yield client


async def spoken(client: AsyncDedalus) -> str:
    stream: Any = await client.chat.completions.create(model="openai/gpt-4.1", messages=[QUESTION], stream=True)
    async with stream:
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def body_of(client: AsyncDedalus) -> bytes:
    create = client.chat.completions.with_streaming_response.create
    async with create(model="openai/gpt-4.1", messages=[QUESTION], stream=True) as response:
        return b"".join([data async for data in response.iter_bytes()])


def data_of(body: bytes) -> list[Any]:
    return [json.loads(block.removeprefix(b"data: ")) for block in body.split(b"\n\n") if block.startswith(b"data: {")]


async def raw_exchange(fake: FakeDedalus) -> bytes:
    """Return everything that the fake writes, head and chunks included, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(fake.url.rpartition(":")[2]))
    body = json.dumps(BODY).encode()
    writer.write(b"POST %b HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)))
    writer.write(body)
    answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answered


def pieces_of(raw: bytes) -> list[bytes]:
    """Return the HTTP chunks of a chunked response."""
    rest = raw.partition(b"\r\n\r\n")[2]
    pieces = []
    while rest != b"0\r\n\r\n":
        size, _, rest = rest.partition(b"\r\n")
        pieces.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) :].removeprefix(b"\r\n")
    return pieces


async def test_speaks_with_the_sdk(fake: FakeDedalus, dedalus: AsyncDedalus) -> None:
    """The SDK's typed stream reads a scripted answer, and the request is recorded."""
    fake.turn(*answer("Hello big world", Usage(3, 2, 5)))
    assert await spoken(dedalus) == "Hello big world"
    request = fake.requests[0]
    assert (request.method, request.path, request.connection) == ("POST", CHAT, 0)
    assert request.headers["authorization"] == "Bearer key"
    assert request.body == BODY


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Role(), [{"role": "assistant", "content": ""}]),
        (Text("Hel", "lo"), [{"content": "Hel"}, {"content": "lo"}]),
        (Thinking("Hm", key="reasoning"), [{"reasoning": "Hm"}]),
        (Thinking("Hm", key="thinking", shape="text"), [{"thinking": {"text": "Hm"}}]),
        (
            Thinking("Hm", key="thinking", shape="thinking", signature="s"),
            [{"thinking": {"thinking": "Hm", "signature": "s"}}],
        ),
        (
            ToolCall("call_1", "add", '{"a"', ": 1}", index=1, thought_signature="c2ln"),
            [
                {
                    "tool_calls": [
                        {
                            "index": 1,
                            "id": "call_1",
                            "type": "function",
                            "thought_signature": "c2ln",
                            "function": {"name": "add", "arguments": '{"a"'},
                        }
                    ]
                },
                {"tool_calls": [{"index": 1, "function": {"arguments": ": 1}"}}]},
            ],
        ),
        (
            ToolCall(None, "add", index=None),
            [{"tool_calls": [{"type": "function", "function": {"name": "add", "arguments": ""}}]}],
        ),
        (ToolCall(None, None, "}"), [{"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}]),
        (McpResults([], choices_empty=False), [{}]),
    ],
)
async def test_deltas(fake: FakeDedalus, dedalus: AsyncDedalus, step: Step, expected: list[Json]) -> None:
    """Each kind of delta has the form of the real wire."""
    fake.turn(step, Done())
    chunks = data_of(await body_of(dedalus))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == expected
    assert {(chunk["object"], chunk["model"]) for chunk in chunks} == {("chat.completion.chunk", "openai/gpt-4.1")}


async def test_end_of_a_turn(fake: FakeDedalus, dedalus: AsyncDedalus) -> None:
    """Finish reason, usage and MCP results are where Dedalus and OpenAI put them."""
    results: list[Json] = [{"tool_name": "search", "server_name": "tsion/exa", "arguments": {}, "is_error": False}]
    fake.turn(McpResults(results), Finish("length", Usage(1, 2, 3)), UsageChunk(1, 2, 3, reasoning=1, cached=0), Done())
    body = await body_of(dedalus)
    mcp, finish, usage = data_of(body)
    assert (mcp["choices"], mcp["mcp_tool_results"]) == ([], results)
    assert finish["choices"][0]["finish_reason"] == "length"
    assert finish["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens_details"] == {"reasoning_tokens": 1}
    assert usage["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    assert body.endswith(b"data: [DONE]\n\n")


async def test_raw_steps(fake: FakeDedalus, dedalus: AsyncDedalus) -> None:
    """Data that isn't a chunk is sent unchanged. A lone surrogate becomes its JSON escape, other text stays UTF-8."""
    fake.turn(
        Head({"x-request-id": "req_mine"}),
        Comment("keep-alive"),
        RawChunk({"id": "x", "choices": []}),
        ErrorData({"detail": "ö\ud83d"}),
        ErrorEvent({"error": {}}),
        Pause(0),
        RawBytes(b"\xff"),
        EndBody(),
    )
    data = 'data: {"id":"x","choices":[]}\n\ndata: {"detail":"ö\\ud83d"}\n\nevent: error\ndata: {"error":{}}\n\n'
    assert await body_of(dedalus) == b": keep-alive\n\n" + data.encode() + b"\xff"


@pytest.mark.parametrize(
    ("split", "sizes"),
    [
        (None, [4, 5, 6]),
        (1, [1] * 15),
        (4, [4, 4, 4, 3]),
        ([2, 9, 9, 14, 99], [2, 7, 5, 1]),
        (random.Random(1), [9, 6]),
    ],
)
async def test_split(fake: FakeDedalus, split: Split, sizes: list[int]) -> None:
    """The body is written in the pieces that the split defines, across frames, and nothing is lost."""
    fake.turn(RawBytes("aöb".encode()), RawBytes(b"12345"), RawBytes(b""), RawBytes(b"678\n\n\n"), split=split)
    pieces = pieces_of(await raw_exchange(fake))
    assert b"".join(pieces) == "aöb12345678\n\n\n".encode()
    assert [len(piece) for piece in pieces] == sizes


async def test_split_at_every_byte_through_the_sdk(fake: FakeDedalus, dedalus: AsyncDedalus) -> None:
    """The SDK reads a stream that arrives byte by byte, split inside characters, lines and frames."""
    fake.turn(*answer("Grüße, 世界 😀"), split=1)
    assert await spoken(dedalus) == "Grüße, 世界 😀"


async def test_waiting_flushes_a_split(fake: FakeDedalus, http: httpx.AsyncClient) -> None:
    """Bytes sent before a wait arrive before it, even if they don't fill a piece. Later splits keep their positions."""
    gate = Gate()
    fake.turn(RawBytes(b"abc"), WaitFor(gate), RawBytes(b"defgh"), split=[5, 7])
    async with http.stream("POST", CHAT, json=BODY) as response:
        parts = response.aiter_raw()
        assert await anext(parts) == b"abc"
        await gate.wait_reached()
        gate.open()
        assert b"".join([part async for part in parts]) == b"defgh"
    fake.turn(RawBytes(b"abc"), WaitFor(gate), RawBytes(b"defgh"), split=[5, 7])
    assert pieces_of(await raw_exchange(fake)) == [b"abc", b"de", b"fg", b"h"]
    assert gate.reached == 2


CALLED: Json = {"role": "assistant", "tool_calls": [{"id": "a"}, {"id": "b"}]}


def tool_result(call_id: str) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": "3"}


@pytest.mark.parametrize(
    ("messages", "refusal"),
    [
        (
            [QUESTION, tool_result("a")],
            "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'",
        ),
        ([CALLED, tool_result("c"), tool_result("a"), tool_result("b")], "must be a response to a preceeding message"),
        ([CALLED, tool_result("a"), QUESTION], "The following tool_call_ids did not have response messages: b"),
        ([CALLED], "did not have response messages: a, b"),
        (
            [CALLED, tool_result("a"), tool_result("a"), tool_result("b")],
            r"'tool_call_id' of 'a', in messages\[1\] and messages\[2\]",
        ),
        (
            [{**CALLED, "tool_calls": [{"id": "a"}, {"id": "a"}]}, tool_result("a")],
            "Duplicate value for 'tool_call_id'",
        ),
    ],
)
async def test_openai_rule(fake: FakeDedalus, dedalus: AsyncDedalus, messages: Any, refusal: str) -> None:
    """Tool messages that OpenAI refuses are refused with its message, and don't use up a turn."""
    fake.turn(*answer("Hi"))
    with pytest.raises(BadRequestError, match=refusal):
        await dedalus.chat.completions.create(model="openai/gpt-4.1", messages=messages, stream=True)
    assert await spoken(dedalus) == "Hi"


async def test_good_tool_messages(fake: FakeDedalus, http: httpx.AsyncClient) -> None:
    """Results in any order, and the same ids again in a later turn, are accepted."""
    fake.always(*answer("Hi"))
    once = [CALLED, tool_result("b"), tool_result("a")]
    response = await http.post(CHAT, json={**BODY, "messages": [QUESTION, *once, *once, QUESTION]})
    assert response.status_code == 200


async def test_connections(fake: FakeDedalus, http: httpx.AsyncClient) -> None:
    """A connection serves several requests, and its opening and end are recorded."""
    fake.always(*answer("Hi"))
    for _ in range(3):
        await http.post(CHAT, json=BODY)
    assert [request.connection for request in fake.requests] == [0, 0, 0]
    assert [(seen.requests, seen.closed_at) for seen in fake.connections] == [(3, None)]
    await http.aclose()
    closed = await fake.wait_closed(0)
    assert closed.closed_at is not None
    assert closed.opened_at <= fake.requests[0].received_at <= closed.closed_at


@pytest.mark.parametrize("steps", [[Stall()], [Head(), Stall()], [Text("Hi"), Stall()], [WaitFor(Gate())]])
async def test_client_leaves(fake: FakeDedalus, http: httpx.AsyncClient, steps: list[Step]) -> None:
    """A client that disconnects while its turn waits is noticed at once."""
    fake.turn(*steps)
    asking = asyncio.create_task(http.post(CHAT, json=BODY))
    await fake.wait_for_requests(1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await fake.wait_closed(0, timeout=1)


async def test_slow_reader_leaves(fake: FakeDedalus, http: httpx.AsyncClient) -> None:
    """A client that disconnects without having read what was sent is noticed, too."""
    gate = Gate()
    fake.turn(Text("Hi"), WaitFor(gate), RawBytes(b"x" * 50_000_000), Stall())
    async with http.stream("POST", CHAT, json=BODY):
        await gate.wait_reached()
        gate.open()
    await fake.wait_closed(0, timeout=1)


@pytest.mark.parametrize(("step", "cause"), [(Cut(), httpx.RemoteProtocolError), (Cut(reset=True), httpx.ReadError)])
async def test_cut(fake: FakeDedalus, http: httpx.AsyncClient, step: Cut, cause: type[Exception]) -> None:
    """A body cut by a close or a reset is an error for the client, after the bytes sent before."""
    fake.turn(RawBytes(b"abc"), step)
    async with http.stream("POST", CHAT, json=BODY) as response:
        parts = response.aiter_raw()
        assert await anext(parts) == b"abc"
        with pytest.raises(cause):
            await anext(parts)
    await fake.wait_closed(0)


async def test_cut_before_the_head(fake: FakeDedalus, http: httpx.AsyncClient) -> None:
    """A connection can also end without a response."""
    fake.turn(Cut())
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post(CHAT, json=BODY)


@pytest.mark.parametrize(
    ("step", "code", "kind", "text"),
    [
        (Status(402, {"detail": "pay"}, {"retry-after": "3"}), 402, "application/json", '{"detail": "pay"}'),
        (Status(503, "busy"), 503, "text/plain; charset=utf-8", "busy"),
        (Html("<html>"), 200, "text/html; charset=utf-8", "<html>"),
        (Html("<html>", 502), 502, "text/html; charset=utf-8", "<html>"),
    ],
)
async def test_whole_responses(
    fake: FakeDedalus, http: httpx.AsyncClient, step: Status, code: int, kind: str, text: str
) -> None:
    """An HTTP error or a page can replace a stream, and the connection stays usable."""
    fake.turn(step)
    fake.turn(EndBody())
    response = await http.post(CHAT, json=BODY)
    assert (response.status_code, response.headers["content-type"], response.text) == (code, kind, text)
    assert response.headers.get("retry-after") == step.headers.get("retry-after")
    assert (await http.post(CHAT, json=BODY)).content == b""
    assert len(fake.connections) == 1


async def test_order_of_scripts(fake: FakeDedalus, http: httpx.AsyncClient) -> None:
    """The chooser is asked first, then come the turns in order, then `always`, and last a 500 that says what is
    missing.
    """
    nothing_left = await http.post(CHAT, json=BODY)
    assert nothing_left.status_code == 500
    assert "no scripted turn left for chat completion 1" in nothing_left.text
    fake.always(RawBytes(b"always"))
    fake.turn(RawBytes(b"first"))
    fake.turn(RawBytes(b"second"))
    fake.choose(lambda body: [RawBytes(b"chosen")] if body["model"] == "special" else None)
    models = ["m", "special", "m", "m", "m"]
    replies = [(await http.post(CHAT, json={**BODY, "model": model})).text for model in models]
    assert replies == ["first", "chosen", "second", "always", "always"]


async def test_key(fake: FakeDedalus, dedalus: AsyncDedalus) -> None:
    """With `require_key` another key is refused as Dedalus does. The marketplace stays public."""
    fake.require_key = "other"
    with pytest.raises(AuthenticationError, match="Invalid API key provided"):
        await spoken(dedalus)
    fake.require_key = "key"
    fake.turn(*answer("Hi"))
    assert await spoken(dedalus) == "Hi"


async def test_lists(fake: FakeDedalus, dedalus: AsyncDedalus, http: httpx.AsyncClient) -> None:
    """The lists of models and MCP servers are served, can be set, can fail, and are counted."""
    listed = await dedalus.models.list()
    assert [entry.id for entry in listed.data] == ["openai/gpt-4.1", "anthropic/claude-sonnet-4-5"]
    fake.marketplace = fake.marketplace[:1]
    market = (await http.get("/api/marketplace")).json()
    assert [entry["slug"] for entry in market["repositories"]] == ["tsion/exa"]
    fake.models_failure = fake.marketplace_failure = Status(503, "down")
    assert (await http.get("/v1/models")).status_code == 503
    assert (await http.get("/api/marketplace")).status_code == 503
    assert (await http.get("/v1/files")).status_code == 404
    assert [len(fake.requests_to(path)) for path in ("/v1/models", "/api/marketplace")] == [2, 2]
    assert fake.chats == []


async def test_body_that_is_no_json(fake: FakeDedalus, http: httpx.AsyncClient) -> None:
    """A body that isn't JSON is recorded as text, and refused."""
    response = await http.post(CHAT, content=b"{")
    assert (response.status_code, fake.requests[0].body) == (400, "{")


async def test_waiting_in_vain(fake: FakeDedalus, http: httpx.AsyncClient) -> None:
    """A wait that times out reports what happened instead."""
    await http.get("/v1/models")
    with pytest.raises(AssertionError, match=r"after 0 s: 0 of 2 requests to /chat/completions.*GET /v1/models"):
        await fake.wait_for_requests(2, timeout=0)
    with pytest.raises(AssertionError, match="connection 0 isn't closed"):
        await fake.wait_closed(0, timeout=0)
    with pytest.raises(AssertionError, match="0 of 1 turns have reached the gate"):
        await Gate().wait_reached(timeout=0)


async def test_fault_in_a_script() -> None:
    """A script that fails closes the connection, and fails the test when the fake ends."""

    def fail(body: Json) -> list[Step]:
        raise LookupError(body["model"])

    fake = await FakeDedalus().__aenter__()
    fake.choose(fail)
    async with httpx.AsyncClient(base_url=fake.url) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(CHAT, json=BODY)
    with pytest.raises(ExceptionGroup) as caught:
        await fake.__aexit__(None, None, None)
    assert caught.group_contains(LookupError, match=r"openai/gpt-4\.1")


@pytest.mark.parametrize(
    "steps", [[Cut(), Text("a")], [EndBody(), Done()], [Text("a"), Status(500, "")], [Head(), Html("")]]
)
async def test_script_that_cannot_be_played(fake: FakeDedalus, steps: list[Step]) -> None:
    """Steps after the end, or a whole response inside a stream, are refused when they are scripted."""
    with pytest.raises(ValueError, match=r"follows|has begun"):
        fake.turn(*steps)


def test_in_a_thread() -> None:
    """A fake on its own event loop serves a synchronous test, which can wait for the same events."""
    gate = Gate()
    with FakeDedalus.in_thread(require_key="key") as fake:
        fake.turn(Text("Hel"), WaitFor(gate), Text("lo"), Finish(), Done())
        with Dedalus(api_key="key", base_url=fake.url, max_retries=0) as client:
            stream: Any = client.chat.completions.create(model="openai/gpt-4.1", messages=[QUESTION], stream=True)
            gate.wait_reached_sync()
            gate.open()
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello"
            assert len(fake.wait_for_requests_sync(1)) == 1
        assert fake.wait_closed_sync(0).closed_at is not None
        with pytest.raises(AssertionError, match="1 of 2 requests"):
            fake.wait_for_requests_sync(2, timeout=0)


async def test_from_another_loop() -> None:
    """A test with its own event loop can wait for a fake in a thread."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake:
        fake.turn(WaitFor(gate), *answer("Hi"))
        async with httpx.AsyncClient(base_url=fake.url) as http:
            asking = asyncio.create_task(http.post(CHAT, json=BODY))
            await gate.wait_reached()
            gate.open()
            assert (await asking).status_code == 200
        await fake.wait_closed(0)
