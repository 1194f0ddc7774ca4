"""Tests the MCP servers that the service calls itself: a real one as a command, one session for all, and their ends."""

import asyncio
import json
import os

import pytest
from mcp_hands import FINE, command
from mcp_peers import TIME, Peer, call, children, offered, pool_of, serving

from services.tooling.base import InvalidArguments, ToolError

pytestmark = pytest.mark.anyio

HAND = command({"fine": FINE})  # starts in a fifth of the time that a real command takes


async def test_server_time_over_stdio() -> None:
    """The server's tools are listed with their schemas.

    A call returns a result, and wrong arguments an error that describes them.
    """
    async with pool_of(time=TIME) as pool:
        tools = await offered(pool, "time")
        now = tools["time__get_current_time"]
        assert sorted(tools) == ["time__convert_time", "time__get_current_time"]
        assert (now.source, now.server, now.approval, now.idempotent) == ("mcp", "time", False, True)
        assert now.parameters["required"] == ["timezone"]
        assert json.loads(await call(now, timezone="Asia/Tokyo"))["timezone"] == "Asia/Tokyo"
        with pytest.raises(InvalidArguments, match="timezone: is required"):
            now.check({})
        with pytest.raises(ToolError, match="Invalid timezone"):
            await call(now, timezone="Europe/Atlantis")


async def test_one_session_serves_all_runs() -> None:
    """Lists and calls of many runs share one session, and so one process."""
    async with serving(Peer().app()) as url, pool_of(peer={"url": f"{url}/mcp"}, hand=HAND) as pool:
        both = await asyncio.gather(*(offered(pool, "peer", "hand") for _ in range(10)))
        assert len({tuple(tools) for tools in both}) == 1
        assert len(pool._open) == 2


async def test_a_command_that_is_killed_is_started_again() -> None:
    """The end of the process is noticed at once, and the next use starts another."""
    before = children()
    async with pool_of(hand=HAND) as pool:
        tools = await offered(pool, "hand")
        [session] = pool._open
        for pid in children() - before:
            os.kill(pid, 9)
        await asyncio.wait({session.task})
        assert await call(tools["hand__fine"]) == "fine"
        assert len(await offered(pool, "hand")) == 1


async def test_a_service_that_ends_takes_its_commands_along() -> None:
    """Closing the pool ends each process."""
    before = children()
    async with pool_of(hand=HAND, other=HAND) as pool:
        await offered(pool, "hand", "other")
        assert len(children() - before) == 2
    assert children() == before
