"""Tests the pool of MCP servers against server-everything, over each transport, and through its ends."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from everything_server import Everything, everything, everything_at
from local_tools import a_context
from mcp_hands import FINE, command
from mcp_peers import Progress, call, children, local, missing, offered, pool_of

from services.tooling.base import ToolError

pytestmark = pytest.mark.anyio

HAND = command({"fine": FINE})


@pytest.fixture(scope="module")
def over_sse() -> Iterator[Everything]:
    with everything_at("sse") as server:
        yield server


@pytest.fixture(scope="module")
def over_http() -> Iterator[Everything]:
    with everything_at("streamableHttp") as server:
        yield server


@pytest.fixture(params=["stdio", "sse", "http"])
def way(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """Return an MCP_SERVERS entry for server-everything, for each transport."""
    match request.param:
        case "stdio":
            return everything()
        case "sse":
            return {"url": request.getfixturevalue("over_sse").url, "transport": "sse"}
        case _:
            return {"url": request.getfixturevalue("over_http").url}


async def test_server_everything_by_each_transport(way: Mapping[str, Any]) -> None:
    """Over each transport, tools are listed and called simultaneously, with progress, images, structured content
    and an elicitation that is declined.
    """
    async with pool_of(every=way) as pool:
        tools = await offered(pool, "every")
        reports: list[Progress] = []
        echoes = [call(tools["every__echo"], message=f"hi {i}") for i in range(20)]
        slow = call(tools["every__trigger-long-running-operation"], reports, duration=0.2, steps=4)
        *answers, done = await asyncio.gather(*echoes, slow)
        assert answers == [f"Echo: hi {i}" for i in range(20)]
        assert done == "Long running operation completed. Duration: 0.2 seconds, Steps: 4."
        assert reports == [(None, i, 4) for i in (1, 2, 3, 4)]
        assert '{"type":"image","mime_type":"image/png","base64_bytes":5380}' in await call(
            tools["every__get-tiny-image"]
        )
        weather = json.loads(await call(tools["every__get-structured-content"], location="New York"))
        assert set(weather) == {"temperature", "conditions", "humidity"}
        link = (await call(tools["every__get-resource-links"], count=1)).splitlines()[1]
        assert json.loads(link)["type"] == "resource_link"
        assert "declined" in await call(tools["every__trigger-elicitation-request"])


async def test_a_call_that_is_cancelled_by_each_transport(way: Mapping[str, Any]) -> None:
    """A cancelled call ends at once, and the session can still be used."""
    async with pool_of(every=way) as pool:
        tools = await offered(pool, "every")
        begun = asyncio.Event()
        progress = a_context(lambda *_: begun.set())
        slow = tools["every__trigger-long-running-operation"]
        calling = asyncio.create_task(slow.call({"duration": 60, "steps": 6000}, progress))
        await begun.wait()
        calling.cancel()
        await asyncio.wait({calling}, timeout=2)
        assert calling.cancelled()
        assert await call(tools["every__echo"], message="still here") == "Echo: still here"


async def test_a_server_that_is_killed_and_comes_back() -> None:
    """While the server is down only its tools are missing. The next run after its return has them again."""
    with everything_at("streamableHttp") as first:
        async with pool_of(every={"url": first.url}, hand=HAND) as pool:
            tools = await offered(pool, "every", "hand")
            assert await call(tools["every__echo"], message="one") == "Echo: one"
            first.kill()
            with pytest.raises(ToolError, match="every"):
                await call(tools["every__echo"], message="two")
            offer = await pool.tools(local(pool, "every", "hand"))
            assert missing(offer) == ["every"]
            assert {tool.server for tool in offer.tools} == {"hand"}
            with everything_at("streamableHttp", first.port):
                assert await call(tools["every__echo"], message="three") == "Echo: three"
                assert "every__echo" in await offered(pool, "every")


async def test_a_server_that_restarts_unnoticed() -> None:
    """A restarted server doesn't know the session, so it didn't execute the call, and the call is repeated."""
    with everything_at("streamableHttp") as first:
        async with pool_of(every={"url": first.url}) as pool:
            toggle = (await offered(pool, "every"))["every__toggle-simulated-logging"]
            assert not toggle.idempotent
            first.kill()
            with everything_at("streamableHttp", first.port):
                assert "logging" in await call(toggle)


async def test_a_service_that_ends_takes_its_command_along() -> None:
    """Closing the pool ends the process."""
    before = children()
    async with pool_of(every=everything()) as pool:
        await offered(pool, "every")
        assert len(children() - before) == 1
    assert children() == before
