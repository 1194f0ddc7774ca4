"""Tests the native event contract v1 over HTTP (promises 1, 2 and 4 of the design)."""

import json
import re

import httpx
import pytest
from fake_dedalus import FakeDedalus
from service import EXECUTE, NOWHERE, SIMULATE, STREAM, Service, checked, names, only, service, settings, text
from wire import Done, Finish, Gate, Json, Text, Thinking, Usage, WaitFor, answer

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio


async def test_a_plain_run_has_the_contract_s_events_in_order(fake: FakeDedalus, shared: Service) -> None:
    """A run without tools has run_started, one step with thinking and text, the whole answer, and complete."""
    fake.turn(Thinking("Hm."), Text("Hel", "lo"), Finish("stop", usage=Usage(3, 2, 5)), Done())
    events = await shared.stream({"input": "Say hello"})
    assert names(events)[:2] == ["run_started", "step_started"]
    assert names(events)[-3:] == ["step_finished", "final_output", "complete"]
    assert text(events, "thinking") == "Hm."
    assert only(events, "final_output") == [{"content": "Hello"}]
    [complete] = only(events, "complete")
    assert complete["status"] == "succeeded"
    assert complete["usage"] == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    assert complete["duration_ms"] >= complete["time_to_first_token_ms"] >= 0


async def test_the_response_s_headers(agent: Service) -> None:
    """They forbid buffering, transformation and caching, and have the run's id and URL, which CORS exposes."""
    response = await agent.post(SIMULATE, {"delay_ms": 0}, origin="http://localhost:3000")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    run_id = response.headers["x-run-id"]
    assert re.fullmatch(r"run_[0-9a-f]{12}7[0-9a-f]{19}", run_id), "a UUIDv7"
    assert response.headers["location"] == f"/api/agent/runs/{run_id}/events"
    exposed = response.headers["access-control-expose-headers"]
    assert {"X-Run-ID", "Location", "X-Request-ID", "Retry-After"} <= set(exposed.split(", "))
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"


async def test_the_body_begins_with_a_comment_and_every_frame_is_bytes_as_promised(agent: Service) -> None:
    """A ping comes at once. The frames after it are ASCII with LF only, and a frame's id is its event's seq."""
    response = await agent.post(SIMULATE, {"delay_ms": 0, "input": "Zoë 🎉\u2028?"})
    assert response.content.startswith(b": ping\n\nid: 1\nevent: run_started\n")
    assert b"\r" not in response.content
    assert response.content.isascii()
    assert "Zoë 🎉\u2028?" in text(checked(response.content))


async def test_the_quick_use_shape_works(agent: Service) -> None:
    """A client that reads lines with `data: ` and uses event.event and event.data.content gets the answer."""
    response = await agent.post(SIMULATE, {"delay_ms": 0})
    events = [json.loads(line[6:]) for line in response.text.split("\n") if line.startswith("data: ")]
    final = next(event for event in events if event["event"] == "final_output")
    assert "3 °C in Oslo" in final["data"]["content"]


async def test_events_arrive_while_the_upstream_is_still_writing(fake: FakeDedalus, shared: Service) -> None:
    """The first piece can be read before the upstream has sent the second."""
    gate = Gate()
    fake.turn(Text("first"), WaitFor(gate), Text("second"), Finish("stop"), Done())
    async with shared.client.stream("POST", STREAM, json={"input": "?"}) as response:
        body = b""
        async for piece in response.aiter_raw():
            body += piece
            if b'"first"' in body and not gate.is_open:
                assert b'"second"' not in body
                gate.open()
    assert text(checked(body)) == "firstsecond"


async def test_execute_returns_the_same_run_folded(fake: FakeDedalus, shared: Service) -> None:
    """The JSON answer agrees with the stream's events."""
    fake.turn(Thinking("Hm."), Text("Hello"), Finish("stop", usage=Usage(3, 2, 5)), Done())
    response = await shared.post(EXECUTE, {"input": "Say hello"})
    body = response.json()
    events = await shared.events(body["run_id"])
    assert response.status_code == 200
    [complete] = only(events, "complete")
    assert body == {
        "run_id": body["run_id"],
        "status": "succeeded",
        "output": "Hello",
        "thinking": "Hm.",
        "tool_calls": [],
        "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        "model": "test/model",
        "answered_by": "test/model",
        "finish_reason": "stop",
        "steps": 1,
        "duration_ms": complete["duration_ms"],
    }


async def test_a_truncated_answer_is_a_success_that_says_so(fake: FakeDedalus, shared: Service) -> None:
    """With the finish reason `length` a run succeeds, and the reason is reported."""
    fake.turn(Text("Hel"), Finish("length"), Done())
    [complete] = only(await shared.stream({"input": "?", "max_tokens": 1}), "complete")
    assert (complete["status"], complete["finish_reason"]) == ("succeeded", "length")


SAME_ON_THE_WIRE: Json = {
    "model": "some/model",
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 10,
    "reasoning_effort": "low",
    "stop": ["END"],
    "seed": 7,
    "response_format": {"type": "json_object"},
}
ASKED: Json = SAME_ON_THE_WIRE | {
    "instructions": "Be brief.",
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    "input": [{"type": "text", "text": "What is it?"}, {"type": "image", "url": "https://example.com/a.png"}],
    "mcp_servers": ["joerup/exa-mcp", "tsion/exa@v2", "https://mcp.deepwiki.com/mcp"],
    "metadata": {"user": "u1"},
}
SENT: Json = SAME_ON_THE_WIRE | {
    "messages": [
        {"role": "system", "content": "Be brief."},
        *ASKED["messages"],
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            ],
        },
    ],
    "mcp_servers": ["joerup/exa-mcp", {"slug": "tsion/exa", "version": "v2"}, "https://mcp.deepwiki.com/mcp"],
    "max_turns": 10,
    "stream": True,
    "stream_options": {"include_usage": True},
}


async def test_what_the_request_asks_for_is_what_the_upstream_gets(fake: FakeDedalus, shared: Service) -> None:
    """Each field for the model is sent under its wire name, and the other fields are not sent."""
    fake.turn(*answer("ok"))
    await shared.stream(ASKED)
    [request] = fake.chats
    assert request.body == SENT


async def test_the_upstream_s_connection_is_used_again() -> None:
    """Consecutive runs share one connection, with the request for the list of models before them."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.always(*answer("ok"))
        await agent.client.get("/api/agent/models")
        for _ in range(5):
            await agent.stream({"input": "?"})
        assert [connection.requests for connection in fake.connections] == [6]


async def test_a_heartbeat_fills_the_silence() -> None:
    """Comments without an id arrive while the model sends nothing."""
    gate = Gate()
    async with FakeDedalus() as fake, service(fake.url, heartbeat_s=0.05) as agent:
        fake.turn(WaitFor(gate), *answer("ok"))
        async with agent.client.stream("POST", STREAM, json={"input": "?"}) as response:
            body = b""
            async for piece in response.aiter_raw():
                body += piece
                if body.count(b": ping\n\n") == 4:
                    gate.open()
    assert text(checked(body)) == "ok"


async def test_the_default_heartbeat_is_within_common_read_timeouts() -> None:
    """A plain httpx client times out after 5 s without a byte, and pings come at least a second earlier."""
    async with httpx.AsyncClient() as plain:
        read_timeout_s = plain.timeout.read
    assert read_timeout_s == 5
    assert settings().heartbeat_s <= 4


async def test_a_run_is_found_by_its_url(fake: FakeDedalus, shared: Service) -> None:
    """GET /runs/{id} returns the run's status and the caller's metadata."""
    fake.turn(*answer("ok"))
    response = await shared.post(STREAM, {"input": "?", "metadata": {"user": "u1"}})
    run = (await shared.client.get(f"/api/agent/runs/{response.headers['x-run-id']}")).json()
    last = checked(response.content)[-1]
    assert run["status"] == "succeeded"
    assert run["last_seq"] == last["seq"]
    assert run["metadata"] == {"user": "u1"}
    assert run["usage"] == last["data"]["usage"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nothing", None, 404, "not_found"),
        ("GET", STREAM, None, 405, "method_not_allowed"),
        ("GET", "/api/agent/runs/run_0", None, 404, "run_not_found"),
        ("POST", "/api/agent/runs/run_0/cancel", None, 404, "run_not_found"),
        ("POST", STREAM, "{", 422, "invalid_request"),
        ("POST", STREAM, "[]", 422, "invalid_request"),
        ("POST", STREAM, '{"input": " "}', 422, "invalid_request"),
        ("POST", STREAM, '{"input": "\\ud800"}', 422, "invalid_request"),
        ("POST", STREAM, '{"input": []}', 422, "invalid_request"),
        ("POST", STREAM, '{"input": "?", "response_format": {"a": NaN}}', 422, "invalid_request"),
        ("POST", STREAM, '{"input": "?", "response_format": {"a": 1e999}}', 422, "invalid_request"),
        ("POST", STREAM, '{"input": "?", "mcp_servers": ["no slug"]}', 422, "invalid_request"),
        ("POST", STREAM, '{"input": "?", "mcp_servers": ["http://example.com/mcp"]}', 422, "invalid_request"),
    ],
)
async def test_every_error_has_one_body(
    method: str, path: str, body: str | None, status: int, code: str, agent: Service
) -> None:
    """Every error, whatever its source, has a code, a message and a request id, and nothing of the request."""
    response = await agent.client.request(
        method, path, content=body, headers={"content-type": "application/json", "x-request-id": "mine-1"}
    )
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["request_id"] == response.headers["x-request-id"] == "mine-1"
    assert error["message"]
    assert error["retryable"] is False


async def test_an_invalid_request_names_its_fields_and_echoes_nothing(agent: Service) -> None:
    """Each error has its path and says what to do. The values sent are not repeated."""
    response = await agent.post(STREAM, {"input": ["secret"], "max-tokens": "secret", "str": 1, "max_steps": "secret"})
    details = {detail["loc"]: detail["message"] for detail in response.json()["error"]["details"]}
    assert {"body.max-tokens", "body.str", "body.max_steps"} < set(details)
    assert "Unknown field" in details["body.max-tokens"]
    assert "secret" not in response.text


async def test_unexpected_failures_are_safe_to_show(caplog: pytest.LogCaptureFixture) -> None:
    """A bug is a 500 in the same form, with CORS headers, and its traceback is only in the log."""
    async with service(NOWHERE) as agent:
        agent.app.state.catalog = object()
        response = await agent.client.get("/api/agent/models", headers={"origin": "http://localhost:3000"})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "AttributeError" not in response.text
    assert "AttributeError" in caplog.text


async def test_another_origin_is_not_let_in_and_another_host_is_refused(agent: Service) -> None:
    """CORS allows the two development origins only. Another Host header is refused, against DNS rebinding."""
    stranger = await agent.client.get("/health", headers={"origin": "https://evil.example"})
    rebound = await agent.client.get("/health", headers={"host": "evil.example"})
    assert "access-control-allow-origin" not in stranger.headers
    assert (rebound.status_code, rebound.json()["error"]["code"]) == (400, "invalid_host")
