"""A refused stream: two frames, or JSON where `Accept` asks for it, with the same status and headers."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from service import EXECUTE, SIMULATE, STREAM, Service, service
from wire import Stall, answer

from error_models import REFUSAL_EVENT

pytestmark = pytest.mark.anyio

BROWSER = "text/html, application/xhtml+xml, application/json;q=0.9, */*;q=0.8"
ACCEPTS_FRAMES = (
    *("*/*", "", "text/event-stream", "text/event-stream, application/json", "text/plain", "application/*"),
    *("application/json;q=0", "application/json, text/event-stream;q=0.1", "text/event-stream;q=high"),
)
ACCEPTS_JSON = (
    *("application/json", "application/json, text/plain, */*", "Application/JSON; charset=utf-8", BROWSER),
    *("text/event-stream;q=0, application/json", "text/event-stream; Q=0.000, */*"),
)
NO_COUNTS = {"input_tokens": None, "output_tokens": None, "total_tokens": None}


@pytest.fixture(scope="module")
async def agent() -> AsyncIterator[Service]:
    """The service with an upstream that answers every request, and bodies of 10 kB at most."""
    async with FakeDedalus() as fake, service(fake.url, max_body_bytes=10_000) as agent:
        fake.always(*answer("ok"))
        yield agent


def frames_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The frames as a line parser reads them: the name, the data, and nothing else."""
    *blocks, rest = response.text.split("\n\n")
    assert rest == ""
    parsed = [[line.split(": ", 1) for line in block.split("\n")] for block in blocks]
    assert [[name for name, _ in lines] for lines in parsed] == [["event", "data"]] * len(blocks)
    events: list[dict[str, Any]] = [json.loads(lines[1][1]) for lines in parsed]
    assert [event["event"] for event in events] == [lines[0][1] for lines in parsed]
    return events


def refused_in_frames(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The data of `error`, from a refusal that is right as a stream."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.content.isascii()
    error, complete = frames_of(response)
    assert set(error) == set(complete) == {"event", "data"}
    assert (error["event"], error["data"]["code"]) == ("error", code)
    assert error["data"]["request_id"] == response.headers["x-request-id"]
    assert complete["event"] == "complete"
    assert complete["data"] == {"status": "failed", "usage": NO_COUNTS, "steps": 0, "duration_ms": 0}
    for event in (error, complete):
        REFUSAL_EVENT.validate_python(event)
    data: dict[str, Any] = error["data"]
    return data


@pytest.mark.parametrize("path", [STREAM, SIMULATE])
@pytest.mark.parametrize("accept", [*ACCEPTS_FRAMES, *ACCEPTS_JSON])
async def test_accept_decides_the_form(path: str, accept: str, agent: Service) -> None:
    """A refusal is JSON if `Accept` names application/json and not text/event-stream, in any spelling; else frames."""
    response = await agent.post(path, {"input": "?", "modle": "a/b"}, accept=accept)
    if accept in ACCEPTS_JSON:
        assert response.headers["content-type"] == "application/json"
        assert response.json()["error"]["details"][0]["loc"] == "body.modle"
    else:
        assert refused_in_frames(response, 422, "invalid_request")["details"][0]["loc"] == "body.modle"


REFUSALS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "not JSON": (422, "invalid_request", {"content": b'{"input":'}),
    "not UTF-8": (422, "invalid_request", {"content": b'{"input": "caf\xe9"}'}),
    "nested too deep": (422, "invalid_request", {"content": b'{"input":' + b"[" * 100 + b"]" * 100 + b"}"}),
    "too large": (413, "body_too_large", {"content": b" " * 20_000}),
    "no such field": (422, "invalid_request", {"json": {"input": "?", "inputs": "?"}}),
    "no such host": (400, "invalid_host", {"json": {"input": "?"}, "headers": {"host": "evil.example"}}),
    "no content type": (415, "not_json", {"content": b'{"input": "hi"}', "headers": {"content-type": "text/plain"}}),
    "curl's content type": (
        415,
        "not_json",
        {"content": b'{"input": "hi"}', "headers": {"content-type": "application/x-www-form-urlencoded"}},
    ),
    "no body": (422, "invalid_request", {}),
}


@pytest.mark.parametrize("path", [STREAM, SIMULATE])
@pytest.mark.parametrize("name", REFUSALS)
async def test_each_layer_refuses_in_both_forms(path: str, name: str, agent: Service) -> None:
    """Refusals by middlewares, parser, validation and service have one status, one error and the same headers."""
    status, code, request = REFUSALS[name]
    headers = {"content-type": "application/json", "origin": "http://localhost:3000", "x-request-id": "same"}
    both = [
        await agent.client.post(path, **request | {"headers": headers | request.get("headers", {}) | accept})
        for accept in ({"accept": "*/*"}, {"accept": "application/json"})
    ]
    framed, plain = both
    error = refused_in_frames(framed, status, code)
    assert (plain.status_code, plain.json()) == (status, {"error": error})
    sent_headers = [
        {n: v for n, v in r.headers.items() if n not in {"content-type", "content-length", "date"}} for r in both
    ]
    assert sent_headers[0] == sent_headers[1]
    assert sent_headers[0]["access-control-allow-origin"] == "http://localhost:3000"


async def test_a_refusal_of_the_service_says_when_to_come_back() -> None:
    """A full server returns 503, with Retry-After in the header and in the data."""
    async with FakeDedalus() as fake, service(fake.url, max_concurrent_runs=1) as agent:
        fake.turn(Stall())
        async with agent.client.stream("POST", STREAM, json={"input": "?"}):
            refused = await agent.post(STREAM, {"input": "?"}, accept="*/*")
    error = refused_in_frames(refused, 503, "server_full")
    assert error["retry_after"] == int(refused.headers["retry-after"])
    assert error["retryable"] is True


async def test_a_run_in_the_way_is_named() -> None:
    """For a busy session, the data of `error` has the run's id, as the JSON body has."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Stall())
        asked = {"input": "?", "session_id": "chat"}
        async with agent.client.stream("POST", STREAM, json=asked) as running:
            refused = await agent.post(STREAM, asked, accept="*/*")
    assert refused_in_frames(refused, 409, "session_busy")["run_id"] == running.headers["x-run-id"]


async def test_a_model_that_nothing_serves() -> None:
    """A client of streams reads `model_unavailable` in a frame, with status 422."""
    async with service(openai_api_key="sk-test") as agent:
        response = await agent.post(STREAM, {"input": "Research AI", "model": "mistral/large"}, accept="*/*")
    refused_in_frames(response, 422, "model_unavailable")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", EXECUTE, 422),
        ("POST", "/api/agent/runs", 422),
        ("GET", STREAM, 405),
        ("PUT", SIMULATE, 405),
        ("POST", STREAM + "/", 404),
        ("GET", "/api/agent/runs/run_1/events", 404),
        ("POST", "/nothing", 404),
    ],
)
async def test_every_other_refusal_is_json(method: str, path: str, status: int, agent: Service) -> None:
    """Other routes and methods return the one error body, whatever `Accept` says."""
    for accept in ("text/event-stream", "*/*"):
        response = await agent.client.request(method, path, json={"inputs": "?"}, headers={"accept": accept})
        assert response.status_code == status
        assert response.headers["content-type"] == "application/json"
        assert response.json()["error"]["code"]
