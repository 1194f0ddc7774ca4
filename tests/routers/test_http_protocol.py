"""The bounds on a connection's cost: the size and time of its heads, its silence, and the number of connections."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from grammar import parse_frames
from service import EXECUTE, NOWHERE, STREAM, Service, checked, service, text
from wire import Stall, answer

from routers.http_server.protocol import MAX_FIELDS, MAX_HEAD_BYTES, SPARE

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
JSON_BODY = b'{"input": "?"}'
HEAD_S = 0.3


class Peer:
    """A client that writes arbitrary bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Write as much as the server accepts."""
        with suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Return the next response that has a length."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = [field.partition(": ") for field in head[1:-2]]
        assert len({name.lower() for name, _, _ in fields}) == len(fields), fields
        headers = {name.lower(): value for name, _, value in fields}
        return int(head[0].split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))

    async def rest(self) -> bytes:
        """Return all bytes until the connection ends."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def connected(agent: Service) -> AsyncIterator[Peer]:
    port = int(agent.url.rpartition(":")[2])
    peer = Peer(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield peer
    finally:
        await peer.close()


async def refusal(peer: Peer) -> tuple[int, str]:
    """Return the status and the code of the refusal, after which the connection ends."""
    status, headers, body = await peer.answer()
    error = json.loads(body)["error"]
    assert headers["connection"] == "close"
    assert error["request_id"] == headers["x-request-id"]
    assert await peer.rest() == b""
    return status, error["code"]


async def health(agent: Service) -> int:
    """Return the status of a health check on a new connection."""
    async with connected(agent) as peer:
        await peer.write(GET + b"Connection: close\r\n\r\n")
        return (await peer.answer())[0]


# Heads

LONG = b"x" * MAX_HEAD_BYTES


@pytest.mark.parametrize(
    "head",
    [
        GET + b"a: " + LONG + b"\r\n\r\n",
        GET + b"a: " + LONG * 100,
        GET + LONG * 4 + b": a\r\n\r\n",
        b"GET /" + LONG + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health?" + LONG * 20,
        GET + b"a: b\r\n" * (MAX_FIELDS + 1) + b"\r\n",
        GET + b"a: b\r\n" * 100_000,
        b"POST /api/agent/stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\na: " + LONG + b"\r\n\r\n{}{}{}{}",
    ],
    ids=["a field", "no end", "a name", "the URL", "a query", "fields", "fields without end", "before a body"],
)
@pytest.mark.parametrize("piece", [1000, 10_000_000])
async def test_a_head_has_a_size(head: bytes, piece: int, agent: Service) -> None:
    """64 KiB in 200 fields are allowed, in one piece or many: beyond that, 431, and the server stops reading."""
    async with connected(agent) as peer:
        for start in range(0, min(len(head), 2_000_000), piece):
            await peer.write(head[start : start + piece])
        assert await refusal(peer) == (431, "head_too_large")
    assert await health(agent) == 200


async def test_a_head_of_almost_that_size_is_served(agent: Service) -> None:
    """The next head on the same connection is counted anew."""
    async with connected(agent) as peer:
        for _ in range(3):
            await peer.write(GET + b"a: " + LONG[:-200] + b"\r\n\r\n")
            assert (await peer.answer())[0] == 200
            await peer.write(GET + b"a: b\r\n" * (MAX_FIELDS - 2) + b"\r\n")
            assert (await peer.answer())[0] == 200


async def test_fields_that_trail_a_body_are_dropped_and_have_a_size() -> None:
    """Trailers can't add to a head that was already handled; megabytes of them end the connection."""
    head = b"POST /api/agent/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    body = head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    async with service(NOWHERE) as agent, connected(agent) as peer:
        await peer.write(body + b"X-Request-ID: forged\r\n\r\n")
        status, headers, _ = await peer.answer()
        assert (status, headers["x-request-id"] != "forged") == (201, True)
        await peer.write(body + (b"a: " + LONG[:1000] + b"\r\n") * 2000 + b"\r\n")
        assert await peer.rest() == b""


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\x00\x01", b"hello\r\n\r\n", GET + b"a b: c\r\n\r\n"])
async def test_what_is_no_http_is_refused_in_the_one_form(nonsense: bytes, agent: Service) -> None:
    """Bytes such as TLS, sent to the plain service's port, get a refusal with the usual error body."""
    async with connected(agent) as peer:
        await peer.write(nonsense)
        assert await refusal(peer) == (400, "malformed_request")


async def test_requests_that_wait_for_no_answer_are_answered_in_their_order_if_they_are_few(agent: Service) -> None:
    """Thousands of pipelined requests in one packet would delay everybody, so such a connection is closed."""
    async with connected(agent) as peer:
        await peer.write(b"".join(GET + b"X-Request-ID: r%d\r\n\r\n" % number for number in range(10)))
        assert [(await peer.answer())[1]["x-request-id"] for _ in range(10)] == [f"r{n}" for n in range(10)]
    async with connected(agent) as peer:
        await peer.write((GET + b"\r\n") * 5000)
        assert (await peer.rest()).count(b"HTTP/1.1 200") < 100
    assert await health(agent) == 200


async def test_a_client_that_leaves_with_requests_in_a_row_has_left_all_of_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first request is running and the second one waits: both are cancelled."""
    first = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % EXECUTE.encode()
    first += b"Content-Length: %d\r\n\r\n" % len(JSON_BODY) + JSON_BODY
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.always(Stall())
        async with connected(agent) as peer:
            await peer.write(first + GET + b"\r\n")
            await fake.wait_for_requests(1)
        async with asyncio.timeout(5):
            await asyncio.gather(*agent.server.server_state.tasks)
    assert not [record for record in caplog.records if record.exc_info]


BAD_BODIES = [
    b"Transfer-Encoding: chunked\r\n\r\nno size\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n0xe\r\n" + JSON_BODY,
    b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n" + b"F" * 40 + b"\r\n",
    b"Transfer-Encoding: gzip\r\n\r\n",
    b"\r\n" + JSON_BODY,  # without a length, the body is the next request
]


@pytest.mark.parametrize("rest", BAD_BODIES)
async def test_a_body_that_is_no_http_is_refused_in_the_one_form(rest: bytes, agent: Service) -> None:
    """The client gets the usual error body rather than a closed connection."""
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % STREAM.encode()
    async with connected(agent) as peer:
        await peer.write(head + rest)
        assert await refusal(peer) == (400, "malformed_request")


OFFERS = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n",  # Java's HttpClient
    b"Connection: keep-alive, Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4\r\n",
    b"connection: upgrade\r\nupgrade:\r\n",
]


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("piece", [1, 100_000])
async def test_an_offer_of_another_protocol_is_ignored(
    offer: bytes, chunked: bool, piece: int, fake: FakeDedalus, shared: Service
) -> None:
    """The request's body is read, and the connection continues."""
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" % EXECUTE.encode() + offer
    length = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: %d\r\n" % len(JSON_BODY)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(JSON_BODY), JSON_BODY) if chunked else JSON_BODY
    sent = head + length + b"\r\n" + body + GET + offer + b"\r\n" + GET + b"\r\n"
    async with connected(shared) as peer:
        fake.always(*answer("ok"))
        for start in range(0, len(sent), piece):
            await peer.write(sent[start : start + piece])
        assert json.loads((await peer.answer())[2])["output"] == "ok"
        assert [(await peer.answer())[0] for _ in range(2)] == [200, 200]


async def test_many_offers_are_as_few_as_other_requests(agent: Service) -> None:
    """The limit on pipelined requests holds for a client that doesn't wait for the responses."""
    async with connected(agent) as peer:
        await peer.write((GET + OFFERS[0] + b"\r\n") * 5000)
        assert (await peer.rest()).count(b"HTTP/1.1 200") < 100
    assert await health(agent) == 200


@pytest.mark.parametrize("target", [b"localhost:443", b"/health"])
async def test_a_tunnel_is_refused(target: bytes, agent: Service) -> None:
    """CONNECT is refused, since this is no proxy."""
    async with connected(agent) as peer:
        await peer.write(b"CONNECT %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
        assert await refusal(peer) == (400, "malformed_request")


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_a_client_that_leaves_within_its_body_leaves_no_traceback(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The disconnection isn't logged as an exception; otherwise anybody could fill the log."""
    async with service(NOWHERE) as agent:
        async with connected(agent) as peer:
            head = f"{method} {EXECUTE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            await peer.write(head.encode() + b"Content-Length: 100\r\n\r\n{")
            assert await health(agent) == 200
        await asyncio.gather(*agent.server.server_state.tasks)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_a_body_in_many_chunks_is_the_same_body(size: int, fake: FakeDedalus, shared: Service) -> None:
    """Hundreds of thousands of bytes are parsed a little at a time, and others are served in between."""
    question = "x" * 50_000 * min(size, 10)
    body = json.dumps({"input": question}).encode()
    chunks = [b"%x\r\n%b\r\n" % (len(body[at : at + size]), body[at : at + size]) for at in range(0, len(body), size)]
    head = b"POST /api/agent/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"
    async with connected(shared) as peer:
        fake.always(*answer("ok"))
        for _ in range(2):
            await peer.write(request)
            assert (await peer.answer())[0] == 200
        assert {chat.body["messages"][0]["content"] for chat in fake.chats} == {question}


# Time


@pytest.mark.parametrize("begun", [b"GET /", b"GET /hea", GET, GET + b"a: b"])
async def test_a_head_that_does_not_end_in_time_is_refused(begun: bytes) -> None:
    """The time limit is the whole head's, however slowly it drips."""
    async with service(NOWHERE, head_timeout_s=HEAD_S) as agent, connected(agent) as peer:
        await peer.write(begun)
        dripping = asyncio.create_task(drip(peer))
        assert await refusal(peer) == (408, "request_timeout")
        dripping.cancel()


async def drip(peer: Peer) -> None:
    while True:
        await peer.write(b"x")
        await asyncio.sleep(HEAD_S / 20)


async def test_a_connection_that_sends_nothing_is_closed() -> None:
    """It is closed without a response, since it has not sent a request."""
    async with service(NOWHERE, head_timeout_s=HEAD_S) as agent, connected(agent) as peer:
        assert await peer.rest() == b""


async def test_a_second_head_has_its_time_too() -> None:
    """The limit holds for a connection that is kept alive and then drips."""
    async with service(NOWHERE, head_timeout_s=HEAD_S) as agent, connected(agent) as peer:
        await peer.write(GET + b"\r\n")
        assert (await peer.answer())[0] == 200
        await peer.write(b"GET")
        assert await refusal(peer) == (408, "request_timeout")


async def test_a_stream_may_be_longer_than_a_head() -> None:
    """Neither the time limit of a head nor that of a body counts during a response."""
    async with (
        FakeDedalus() as fake,
        service(fake.url, head_timeout_s=0.05, body_timeout_s=0.05, heartbeat_s=0.1) as agent,
    ):
        fake.turn(Stall())
        async with agent.client.stream("POST", STREAM, json={"input": "?"}) as response:
            body = b""
            async for piece in response.aiter_raw():
                body += piece
                if body.count(b": ping") > 3:
                    break


async def test_a_stream_outlives_the_silence_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on a silent connection ends with the next request on it."""
    async with FakeDedalus() as fake, service(fake.url, heartbeat_s=0.1) as agent:
        monkeypatch.setattr(agent.server.config, "timeout_keep_alive", 0.3)
        fake.turn(Stall())
        await agent.client.get("/health")
        async with agent.client.stream("POST", STREAM, json={"input": "?"}) as response:
            assert len(agent.server.server_state.connections) == 1
            body = b""
            async for piece in response.aiter_raw():
                body += piece
                if body.count(b": ping") > 5:
                    break


@pytest.mark.parametrize("sent", [b"", b'{"input":', b'{"input": "' + b"x" * 200_000])
async def test_a_body_that_does_not_end_in_time_is_refused(sent: bytes) -> None:
    """The limit holds however much of the body has arrived."""
    head = b"POST /api/agent/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    async with service(NOWHERE, body_timeout_s=HEAD_S) as agent, connected(agent) as peer:
        await peer.write(head + b"Content-Length: 500000\r\n\r\n" + sent)
        status, headers, body = await peer.answer()
        assert (status, json.loads(body)["error"]["code"]) == (408, "request_timeout")
        assert headers["connection"] == "close"
        assert await peer.rest() == b""


async def test_the_rest_of_a_refused_body_has_a_time() -> None:
    """The client may send a refused body for as long as a head may take, so that it can read the response."""
    head = b"POST /api/agent/execute HTTP/1.1\r\nHost: localhost\r\n"
    async with service(NOWHERE, max_body_bytes=1024, head_timeout_s=HEAD_S) as agent, connected(agent) as peer:
        await peer.write(head + b"Content-Length: 500000\r\n\r\n")
        assert (await peer.answer())[0] == 413
        dripping = asyncio.create_task(drip(peer))
        assert await peer.rest() == b""
        dripping.cancel()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_client_that_closes_can_read_why_its_body_is_refused(version: str) -> None:
    """A client that, like nginx, sends its whole body with `Connection: close` still receives the refusal."""
    head = f"POST {EXECUTE} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 5000000\r\n\r\n"
    async with service(NOWHERE, max_body_bytes=1024) as agent, connected(agent) as peer:
        await peer.write(head.encode() + b"x" * 1000)
        for _ in range(49):
            await peer.write(b"x" * 100_000)
        assert (await peer.answer())[0] == 413
        assert await peer.rest() == b""


# How many


def sending(size: int) -> bytes:
    head = (
        f"POST {STREAM} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
    )
    return f"{head}Content-Length: {size}\r\n\r\n".encode() + b'{"input": "' + b"x" * (size - 100)


async def test_large_bodies_that_are_still_coming_have_a_size_together() -> None:
    """Bodies beyond the limit are refused, small bodies never; an abandoned body makes room."""
    async with FakeDedalus() as fake, service(fake.url, max_bodies_bytes=1024 * 1024) as agent:
        fake.always(*answer("ok"))
        async with connected(agent) as first, connected(agent) as second:
            await first.write(sending(900_000))
            await second.write(sending(900_000))
            refused = await asyncio.wait(
                {asyncio.create_task(peer.answer()) for peer in (first, second)}, return_when=asyncio.FIRST_COMPLETED
            )
            [status, headers, body] = refused[0].pop().result()
            assert (status, json.loads(body)["error"]["code"]) == (503, "server_full")
            assert int(headers["retry-after"]) > 0
            assert text(await agent.stream({"input": "x" * 60_000})) == "ok"
            for waiting in refused[1]:
                waiting.cancel()
        assert text(await agent.stream({"input": "x" * 900_000})) == "ok"


async def test_silent_connections_make_room_the_longest_silent_first() -> None:
    """A thousand silent connections delay nobody."""
    async with service(NOWHERE, max_connections=20) as agent:
        silent = [await asyncio.open_connection("127.0.0.1", int(agent.url.rpartition(":")[2])) for _ in range(100)]
        assert await health(agent) == 200
        assert len(agent.server.server_state.connections) <= 20 + SPARE
        ended = [reader.at_eof() or reader.exception() is not None for reader, _ in silent]
        room = 20 + SPARE
        assert ended[: 100 - room] == [True] * (100 - room)
        assert not any(ended[101 - room :])
        for _, writer in silent:
            writer.close()
        assert (await agent.client.get("/api/agent/runs")).status_code == 200


async def test_where_no_connection_is_silent_only_health_is_answered() -> None:
    """Others get 503 with Retry-After on a connection that is then closed; running requests continue."""
    async with FakeDedalus() as fake, service(fake.url, max_connections=3) as agent:
        fake.always(Stall())
        started = [agent.client.stream("POST", STREAM, json={"input": "?"}) for _ in range(3)]
        for stream in started:
            await stream.__aenter__()
        async with connected(agent) as peer:
            await peer.write(b"GET /api/agent/runs HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await refusal(peer) == (503, "server_full")
        for _ in range(5):
            assert await health(agent) == 200
        for stream in started:
            await stream.__aexit__(None, None, None)


# HTTP/1.0


async def test_http_1_0_gets_a_stream_without_chunks(fake: FakeDedalus, shared: Service) -> None:
    """The body ends with the connection, and there is one Connection header."""
    fields = f"Content-Type: application/json\r\nContent-Length: {len(JSON_BODY)}\r\nConnection: keep-alive\r\n"
    head = f"POST {STREAM} HTTP/1.0\r\nHost: localhost\r\n{fields}\r\n"
    fake.always(*answer("ok"))
    async with connected(shared) as peer:
        await peer.write(head.encode() + JSON_BODY)
        head_back, _, body = (await peer.rest()).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head_back.lower()
    assert re.findall(rb"(?i)\r\nconnection: (.*)", head_back) == [b"close"]
    assert text(checked(body)) == "ok"


@pytest.mark.parametrize("path", ["/health", "/nothing", "/openapi.json"])
async def test_http_1_0_gets_answers_with_their_length(path: str, agent: Service) -> None:
    """An HTTP/1.0 client gets the same responses as any other."""
    async with connected(agent) as peer:
        await peer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        _, headers, body = await peer.answer()
        assert json.loads(body)
        assert headers["connection"] == "close"
        assert await peer.rest() == b""


async def test_a_stream_names_one_connection_header_at_most(fake: FakeDedalus, shared: Service) -> None:
    """With HTTP/1.1 there is none, or `close` if the client closes."""
    seen: list[Any] = []
    fake.always(*answer("ok"))
    for asked in ("keep-alive", "close"):
        response = await shared.post(STREAM, {"input": "?"}, connection=asked)
        seen.append(response.headers.get_list("connection"))
        assert parse_frames(response.content)
    assert seen == [[], ["close"]]
