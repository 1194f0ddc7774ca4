"""Tests runs with tools of MCP servers: what the model, the client and the upstream receive."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from mcp_hands import CLOCK
from mcp_peers import Peer, serving
from service import NOWHERE, STREAM, Service, only, service, text
from wire import Done, Finish, ToolCall, answer

pytestmark = pytest.mark.anyio

GONE = {"url": "http://127.0.0.1:9/mcp"}
HERE: dict[str, Any] = {"dedalus_base_url_hosts_mcp": False}


def calls(*named: tuple[str, dict[str, Any]]) -> list[Any]:
    made = [ToolCall(f"call_{i}", name, json.dumps(given), index=i) for i, (name, given) in enumerate(named)]
    return [*made, Finish("tool_calls"), Done()]


@pytest.fixture(scope="module")
async def fake() -> AsyncIterator[FakeDedalus]:
    async with FakeDedalus() as fake:
        yield fake


@pytest.fixture(scope="module")
async def agent(fake: FakeDedalus) -> AsyncIterator[Service]:
    """A service with a command, a server over HTTP, and one that is down."""
    async with serving(Peer().app()) as url:
        servers = {"clock": CLOCK, "peer": {"url": f"{url}/mcp"}, "gone": GONE}
        async with service(fake.url, mcp_servers=servers, **HERE) as agent:
            yield agent


async def test_a_run_calls_tools_of_mcp_servers(fake: FakeDedalus, agent: Service) -> None:
    """A run calls several servers simultaneously, with progress, while one is down.

    The model gets the results in the order of its calls.
    """
    fake.turn(*calls(("peer__shout", {"times": 2}), ("clock__now", {"zone": "UTC"})))
    fake.turn(*answer("Noon."))
    events = await agent.stream({"input": "?", "mcp_servers": ["clock", "peer", "gone"]})
    first, second = (request.body for request in fake.chats[-2:])
    assert text(events) == "Noon."
    assert only(events, "warning") == [
        {
            "code": "mcp_server_unavailable",
            "message": "The MCP server gone could not be reached, or failed: its tools are missing.",
        }
    ]
    assert [(use["name"], use["source"], use["server"]) for use in only(events, "tool_use")] == [
        ("peer__shout", "mcp", "peer"),
        ("clock__now", "mcp", "clock"),
    ]
    shouted = {"tool_call_id": "call_0", "progress": 2, "total": 2, "message": "shout 2"}
    assert only(events, "tool_progress")[-1] == shouted
    assert not any(result["is_error"] for result in only(events, "tool_result"))
    assert "mcp_servers" not in first
    [now] = [t["function"] for t in first["tools"] if t["function"]["name"] == "clock__now"]
    assert now["parameters"]["required"] == ["zone"]
    assert [m["content"] for m in second["messages"] if m["role"] == "tool"] == ["hoarse", "fine"]


async def test_arguments_that_do_not_fit_are_reported_to_the_model(fake: FakeDedalus, agent: Service) -> None:
    """The model gets invalid arguments and a failed call as error results, and the run continues."""
    fake.turn(*calls(("clock__now", {}), ("peer__fail", {})))
    fake.turn(*answer("Sorry."))
    events = await agent.stream({"input": "?", "mcp_servers": ["clock", "peer"]})
    missing, failed = sorted(only(events, "tool_result"), key=lambda result: result["tool_call_id"])
    assert missing["is_error"]
    assert "zone: is required" in missing["content"]
    assert failed["is_error"]
    assert "the oven is cold" in failed["content"]
    assert text(events) == "Sorry."


async def test_where_the_upstream_hosts_both_ways_go_together() -> None:
    """Slugs are passed to the upstream, and the operator's servers are called by this service, in one run."""
    async with FakeDedalus() as fake, service(fake.url, mcp_servers={"clock": CLOCK}) as agent:
        fake.turn(*calls(("clock__now", {"zone": "UTC"})))
        fake.turn(*answer("Noon."))
        events = await agent.stream({"input": "?", "mcp_servers": ["tsion/exa", {"name": "clock", "run": "local"}]})
        assert [request.body["mcp_servers"] for request in fake.chats] == [["tsion/exa"]] * 2
    assert [result["content"] for result in only(events, "tool_result")] == ["fine"]
    assert text(events) == "Noon."


async def test_the_server_is_notified_when_a_run_is_cancelled() -> None:
    """Cancelling a run stops the server's work."""
    peer = Peer()
    async with (
        serving(peer.app()) as url,
        FakeDedalus() as fake,
        service(fake.url, mcp_servers={"peer": {"url": f"{url}/mcp"}}, **HERE) as agent,
    ):
        fake.turn(*calls(("peer__wait", {})))
        streaming = asyncio.create_task(agent.post(STREAM, {"input": "?", "mcp_servers": ["peer"]}))
        await peer.called.wait()
        [run] = (await agent.client.get("/api/agent/runs")).json()["runs"]
        await agent.post(f"/api/agent/runs/{run['run_id']}/cancel", {})
        await peer.cancelled.wait()
        await streaming


async def test_a_server_that_nobody_can_call_is_refused() -> None:
    """The request is refused before the run starts."""
    async with FakeDedalus() as fake, service(fake.url, mcp_servers={"clock": CLOCK}, **HERE) as agent:
        for asked, code in (
            ("tsion/exa", "mcp_unavailable"),
            ("unknown", "mcp_unavailable"),
            ("https://127.0.0.1/mcp", "url_refused"),
        ):
            response = await agent.post(STREAM, {"input": "?", "mcp_servers": [asked]})
            assert (response.status_code, response.json()["error"]["code"]) == (422, code)
        assert not fake.chats


async def test_what_a_server_offers_can_be_looked_at() -> None:
    """A server's tools can be read by its name. An unknown name is not found, and a server that is down is an error."""
    async with service(NOWHERE, mcp_servers={"acme/clock": CLOCK, "gone": GONE}) as agent:
        [offered] = (await agent.client.get("/api/agent/mcp-servers/acme/clock/tools")).json()["tools"]
        assert offered["name"] == "acme_clock__now"
        assert offered["parameters"]["required"] == ["zone"]
        for name, status, code in (("gone", 502, "mcp_server_failed"), ("other", 404, "mcp_server_not_found")):
            response = await agent.client.get(f"/api/agent/mcp-servers/{name}/tools")
            assert (response.status_code, response.json()["error"]["code"]) == (status, code)
