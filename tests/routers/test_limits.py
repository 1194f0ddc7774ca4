"""The bounds on one caller's cost: bodies, nesting, concurrent runs, stalled readers; and the hosts that are served."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from grammar import parse_frames
from pydantic import ValidationError
from service import EXECUTE, SIMULATE, STREAM, Service, checked, service, settings, text
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from wire import Done, Finish, Stall, Text, answer

from errors import ServerFull
from models import AgentRequest
from services.access.caller import ANYBODY

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

ORIGIN = "http://localhost:3000"
KIB = 1024


@asynccontextmanager
async def answering(**given: Any) -> AsyncIterator[Service]:
    """The service with an upstream that answers every request."""
    async with FakeDedalus() as fake, service(fake.url, **given) as agent:
        fake.always(*answer("ok"))
        yield agent


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of a refusal in the one form, with its request id and CORS headers, so that a page can read it."""
    error: dict[str, Any] = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["request_id"] == response.headers["x-request-id"]
    assert response.headers["access-control-allow-origin"] == ORIGIN
    return error


# Bodies


@pytest.fixture(scope="module")
async def small() -> AsyncIterator[Service]:
    """A service that accepts bodies of up to 1 KiB."""
    async with answering(max_body_bytes=KIB) as agent:
        yield agent


async def said(agent: Service, head: str, *body: bytes) -> httpx.Response:
    """Return the response to a request written as raw bytes, which may be left unfinished."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(agent.url).port)
    json_both_ways = "Content-Type: application/json\nAccept: application/json"
    lines = f"POST {STREAM} HTTP/1.1\nHost: localhost\nOrigin: {ORIGIN}\n{json_both_ways}\n{head}\n\n"
    writer.write(lines.replace("\n", "\r\n").encode() + b"".join(body))
    status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    headers = httpx.Headers(dict(field.split(": ", 1) for field in fields))
    content = await reader.readexactly(int(headers["content-length"]))
    writer.close()
    await writer.wait_closed()
    return httpx.Response(int(status.split()[1]), headers=headers, content=content)


@pytest.mark.parametrize("length", [str(KIB + 1), "9" * 19, "0" * 5000 + str(KIB + 1)])
async def test_a_body_that_says_it_is_too_large_is_refused_unread(length: str, small: Service) -> None:
    """Promise 8: it is refused by its Content-Length, before a byte of it has arrived."""
    response = await said(small, f"Content-Length: {length}")
    error = refused(response, 413, "body_too_large")
    assert "MAX_BODY_BYTES" in error["message"]
    assert error["retryable"] is False


async def test_a_body_that_does_not_say_its_size_is_refused_once_it_is_too_large(small: Service) -> None:
    """Promise 8: a chunked body is counted, and refused without waiting for its end, which may never come."""
    chunk = b"200\r\n" + b" " * 512 + b"\r\n"
    refused(await said(small, "Transfer-Encoding: chunked", chunk, chunk, chunk), 413, "body_too_large")


@pytest.mark.parametrize("path", [STREAM, EXECUTE, SIMULATE])
async def test_the_limit_of_a_body_is_exact_on_every_route(path: str, small: Service) -> None:
    """A body of exactly the limit is accepted, one byte more is not."""
    body = b'{"input":"?"}'.ljust(KIB)
    headers = {"content-type": "application/json", "origin": ORIGIN}
    taken = await small.client.post(path, content=body, headers=headers)
    refused(await small.client.post(path, content=body + b" ", headers=headers), 413, "body_too_large")
    assert taken.status_code == 200


async def test_a_connection_stays_open_after_a_refused_body(small: Service) -> None:
    """The rest of a refused body is skipped, and the next request on the same connection is served."""
    for _ in range(2):
        large = await small.client.post(STREAM, content=b" " * 100 * KIB, headers={"origin": ORIGIN})
        refused(large, 413, "body_too_large")
        assert text(await small.stream({"input": "?"})) == "ok"


# Nesting


def nested(depth: int) -> Any:
    """A value whose brackets nest this deep, alternating between both kinds."""
    value: Any = {}
    for level in range(1, depth):
        value = [value] if level % 2 else {"": value}
    return value


@pytest.mark.parametrize(("limit", "given"), [(64, {}), (8, {"max_json_depth": 8}), (300, {"max_json_depth": 300})])
async def test_json_may_nest_as_deep_as_the_limit_and_no_deeper(limit: int, given: dict[str, Any]) -> None:
    """Promise 8: depth 64 by default. A value on the limit reaches the upstream or its own check."""
    async with answering(**given) as agent:
        for depth in (limit, limit + 1):
            value = {"input": "?", "response_format": {"x": nested(depth - 2)}}
            response = await agent.post(STREAM, value, origin=ORIGIN)
            told_so = "nested deeper" in response.text
            assert told_so is (depth > limit)
        refused(response, 422, "invalid_request")


async def test_brackets_in_a_text_are_no_nesting(fake: FakeDedalus, shared: Service) -> None:
    """A question may contain any number of brackets, quotes and backslashes."""
    question = '[{"' * 1000 + "\\" * 7 + '"[[[' + "]" * 9
    fake.turn(*answer("ok"))
    await shared.stream({"input": question})
    [request] = fake.chats
    assert request.body["messages"] == [{"role": "user", "content": question}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
async def test_another_encoding_is_no_way_around_the_depth(encoding: str, agent: Service) -> None:
    """A text whose bytes look like an open string in UTF-8 can't hide brackets."""
    body = json.dumps({"input": "\u0122", "response_format": {"x": nested(100)}}, ensure_ascii=False)
    headers = {"content-type": "application/json", "origin": ORIGIN}
    response = await agent.client.post(STREAM, content=body.encode(encoding), headers=headers)
    refused(response, 422, "invalid_request")


# Values


@pytest.mark.parametrize(
    "field",
    [
        b'"input":[' + b",".join([b"{}"] * 300_000),
        b'"input":"?","messages":[' + b",".join([b"{}"] * 300_000),
        b'"input":"?","response_format":{"x":[' + (b"[" * 60 + b"]" * 60 + b",") * 8_000,
        b'"input":"?",' + b",".join(b'"k%d":1' % n for n in range(100_000)),
        b'"input":"?","metadata":{' + b",".join([b'"k":1'] * 100_000),
        b'"input":"?","seed":' + b"7" * 5000,
        b'"input":"?","temperature":0.' + b"0" * 1_000_000,
    ],
    ids=["parts", "messages", "response_format", "unknown fields", "metadata", "integer", "float"],
)
async def test_json_that_would_keep_a_parser_busy_is_refused_before_it(field: bytes, agent: Service) -> None:
    """A scan refuses many values in few bytes, and numbers whose digits take quadratic time, in any context."""
    headers = {"content-type": "application/json", "origin": ORIGIN}
    response = await agent.client.post(STREAM, content=b"{" + field, headers=headers)
    error = refused(response, 422, "invalid_request")
    assert "MAX_JSON_VALUES" in error["message"] or "number" in error["message"]


# Concurrent runs


async def test_a_full_server_says_so_at_once_and_still_answers_everything_else() -> None:
    """Promise 7: new runs and /ready get 503 with Retry-After; health, lists and running runs are served."""
    async with FakeDedalus() as fake, service(fake.url, max_concurrent_runs=1) as agent:
        fake.turn(Stall())
        async with agent.client.stream("POST", STREAM, json={"input": "?"}) as running:
            for path, body in ((STREAM, {"input": "?"}), (EXECUTE, {"input": "?"}), (SIMULATE, {"delay_ms": 0})):
                response = await agent.post(path, body, origin=ORIGIN)
                assert refused(response, 503, "server_full")["retryable"] is True
                assert int(response.headers["retry-after"]) > 0
            ready = await agent.client.get("/ready", headers={"origin": ORIGIN})
            refused(ready, 503, "server_full")
            assert int(ready.headers["retry-after"]) > 0
            run = f"/api/agent/runs/{running.headers['x-run-id']}"
            for path in ("/", "/health", "/openapi.json", "/api/agent/models", "/api/agent/mcp-servers", run):
                assert (await agent.client.get(path)).status_code == 200
            assert (await agent.client.post(f"{run}/cancel")).status_code == 202
            async for _ in running.aiter_raw():
                pass
        assert (await agent.client.get("/ready")).status_code == 200
    assert len(fake.chats) == 1


async def test_requests_at_the_same_moment_can_t_be_too_many() -> None:
    """The limit holds also for runs that are admitted while another one is starting."""
    async with FakeDedalus() as fake, service(fake.url, default_model=None, max_concurrent_runs=1) as agent:
        fake.always(Stall())
        starts = (agent.app.state.service.start(ANYBODY, AgentRequest(input="?"), f"req_{n}") for n in range(5))
        started = await asyncio.gather(*starts, return_exceptions=True)
    assert sum(isinstance(result, ServerFull) for result in started) == 4


# Readers that stall

LARGE = 60_000  # characters of a piece, so that each event is a large one


@asynccontextmanager
async def writing(pieces: int, size: int = LARGE, **given: Any) -> AsyncIterator[Service]:
    """The service with an upstream that writes a long answer as fast as it can."""
    given = {"max_output_bytes": 64 * KIB * KIB, "heartbeat_s": 60, **given}
    async with FakeDedalus() as fake, service(fake.url, **given) as agent:
        fake.always(Text(*["x" * size] * pieces), Finish("stop"), Done())
        yield agent


@asynccontextmanager
async def not_reading(agent: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client that reads from its connections only on request, and has a small buffer."""
    narrow = httpx.AsyncHTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * KIB)])
    async with httpx.AsyncClient(base_url=agent.url, transport=narrow, timeout=30) as client:
        yield client


async def all_answered(agent: Service) -> None:
    """Return when the server has no request under way."""
    await asyncio.gather(*agent.server.server_state.tasks)


def held(agent: Service) -> list[int]:
    """The bytes that the server holds for each of its connections because they can't be written yet."""
    return [protocol.transport.get_write_buffer_size() for protocol in agent.server.server_state.connections]


async def stuck(agent: Service, readers: int) -> None:
    """Return when the server can't write to this many connections."""
    while sum(size > HIGH_WATER_LIMIT for size in held(agent)) < readers:
        await agent.client.get("/health")


async def torn(response: httpx.Response) -> bytes:
    """Return what arrived of a body that breaks off."""
    body = bytearray()
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):  # by the service, or by its kernel
        await read_into(body, response)
    return bytes(body)


async def read_into(body: bytearray, response: httpx.Response) -> None:
    async for piece in response.aiter_raw():
        body += piece


def events_of(response: httpx.Response) -> str:
    return response.headers["location"]


async def test_a_reader_that_does_not_read_is_cut_and_another_connection_takes_up_all_of_it() -> None:
    """After send_timeout_s the body breaks off. A new connection reads the rest after the last event, byte for byte."""
    asked = {"input": "?", "on_disconnect": "continue"}
    async with writing(pieces=100, send_timeout_s=0.2) as agent, not_reading(agent) as client:
        async with client.stream("POST", STREAM, json=asked) as response:
            await all_answered(agent)
            body = await torn(response)
        whole = (await agent.client.get(events_of(response))).content
        shown = body[: body.rindex(b"\n\n") + 2]
        last = parse_frames(shown, prefix=True)[-1]["seq"]
        rest = (await agent.client.get(events_of(response), headers={"last-event-id": str(last)})).content
    ping, events = whole[:8], whole[8:]
    assert shown.startswith(ping)
    assert shown[8:] + rest[8:] == events
    assert len(body) < len(events) / 2
    assert text(checked(whole)) == "x" * LARGE * 100


async def test_a_reader_that_does_not_read_slows_nobody() -> None:
    """The run and its other readers finish while one reader is stuck, long before that one is cut."""
    async with (
        writing(pieces=100, send_timeout_s=3600) as agent,
        not_reading(agent) as client,
        client.stream("POST", STREAM, json={"input": "?"}) as response,
    ):
        events = checked((await agent.client.get(events_of(response))).content)
        await stuck(agent, readers=1)
        assert max(held(agent)) < 192_000
        run = (await agent.client.get(f"/api/agent/runs/{response.headers['x-run-id']}")).json()
    assert text(events) == "x" * LARGE * 100
    assert run["status"] == "succeeded"


async def test_a_reader_that_does_not_read_is_cut_also_while_the_run_is_silent() -> None:
    """Heartbeats detect the stalled reader when there is nothing else to send."""
    limits: dict[str, Any] = {"max_output_bytes": 64 * KIB * KIB, "heartbeat_s": 0.02, "send_timeout_s": 0.2}
    async with FakeDedalus() as fake, service(fake.url, **limits) as agent, not_reading(agent) as client:
        fake.turn(Text(*["x" * LARGE] * 100), Stall())
        async with client.stream("POST", STREAM, json={"input": "?"}) as response:
            await all_answered(agent)
            await torn(response)


async def test_a_reader_that_never_reads_again_keeps_nothing_on_the_server() -> None:
    """Once it is cut, its connection and its buffered bytes are freed, whatever its client does."""
    async with (
        writing(pieces=100, send_timeout_s=0.2) as agent,
        not_reading(agent) as client,
        client.stream("POST", STREAM, json={"input": "?"}),
    ):
        await all_answered(agent)
        async with asyncio.timeout(10):
            while any(held(agent)):
                await agent.client.get("/health")


# Accepted hosts and origins


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "LocalHost:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8000"],
)
async def test_this_machine_s_own_names_are_served_on_any_port(host: str, agent: Service) -> None:
    """The port isn't checked, since it may be forwarded. IPv6 literals are in brackets."""
    assert (await agent.client.get("/health", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "localhost:8000.evil.example",
        "127.0.0.1.nip.io",
        "127.0.0.2",
        "0.0.0.0",
        "[::2]:8000",
        "::1",
        "localhost, evil.example",
        "*",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/health"), ("POST", SIMULATE), ("GET", "/openapi.json")])
async def test_a_foreign_host_is_refused_on_every_route(host: str, method: str, path: str, agent: Service) -> None:
    """DNS rebinding: a page whose own name resolves here gets no answer on any route."""
    response = await agent.client.request(method, path, headers={"host": host, "origin": ORIGIN})
    assert "ALLOWED_HOSTS" in refused(response, 400, "invalid_host")["message"]


@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("localhost", "localhost"), ()])
async def test_a_request_has_one_host(hosts: tuple[str, ...], agent: Service) -> None:
    """A proxy might check another Host header than this service does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(agent.url.rpartition(":")[2]))
    fields = "".join(f"Host: {host}\r\n" for host in hosts)
    writer.write(f"GET /health HTTP/1.1\r\n{fields}Connection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"invalid_host"' in answer


async def test_the_operator_s_names_are_served() -> None:
    """HOST itself and the names in ALLOWED_HOSTS are served, in any case; `*` is everything."""
    hosts: dict[str, Any] = {"host": "box.internal", "allowed_hosts": "Agents.Example.COM, other.example"}
    async with service("http://127.0.0.1:9", **hosts) as agent:
        for host in ("box.internal:8000", "agents.example.com", "AGENTS.example.com:443", "other.example"):
            assert (await agent.client.get("/health", headers={"host": host})).status_code == 200
        assert (await agent.client.get("/health", headers={"host": "localhost"})).status_code == 400
    async with service("http://127.0.0.1:9", allowed_hosts="*") as agent:
        assert (await agent.client.get("/health", headers={"host": "any.example"})).status_code == 200


async def test_a_host_that_is_an_ipv6_literal_is_served_by_its_name_in_urls() -> None:
    """HOST=2001:db8::1 is served as http://[2001:db8::1]:8000."""
    async with service("http://127.0.0.1:9", host="2001:db8::1") as agent:
        response = await agent.client.get("/health", headers={"host": "[2001:db8::1]:8000"})
    assert response.status_code == 200


def test_any_origin_with_credentials_refuses_to_start() -> None:
    """`CORS_ORIGINS=*` with credentials would let any page act as its user."""
    for origins in ("*", "http://localhost:3000, *"):
        with pytest.raises(ValidationError, match="name the origins"):
            settings(cors_origins=origins, cors_credentials=True)


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({"cors_origins": "*"}, {"access-control-allow-origin": "*"}),
        (
            {"cors_origins": "https://app.example", "cors_credentials": True},
            {"access-control-allow-origin": "https://app.example", "access-control-allow-credentials": "true"},
        ),
        ({"cors_origins": "https://other.example"}, {}),
    ],
)
async def test_pages_of_named_origins_may_ask(given: dict[str, Any], allowed: dict[str, str]) -> None:
    """`*` without credentials allows all pages; with credentials only named origins are allowed."""
    async with service("http://127.0.0.1:9", **given) as agent:
        response = await agent.client.get("/health", headers={"origin": "https://app.example"})
    names = ("access-control-allow-origin", "access-control-allow-credentials")
    assert {name: response.headers[name] for name in names if name in response.headers} == allowed


async def test_a_page_may_send_what_resuming_and_tracing_need(agent: Service) -> None:
    """The preflights of a POST with JSON, and of a GET with Last-Event-ID and X-Request-ID, are allowed."""
    for method, names in (("POST", "content-type,x-request-id"), ("GET", "last-event-id")):
        headers = {
            "origin": ORIGIN,
            "access-control-request-method": method,
            "access-control-request-headers": names,
        }
        response = await agent.client.options(STREAM, headers=headers)
        assert response.status_code == 200
        granted = response.headers["access-control-allow-headers"].replace(" ", "").split(",")
        assert set(names.split(",")) <= set(granted)
        assert method in response.headers["access-control-allow-methods"]
