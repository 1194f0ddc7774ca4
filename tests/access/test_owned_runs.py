"""The owner of a run through crashes and lost records, and where tools and models learn of it."""

import signal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from callers import ADA, API_KEYS, BOB, bearer, calling, guarded_service
from fake_dedalus import FakeDedalus
from local_tools import LocalTool, added, named
from process import Nursery, forked_app
from service import DATABASE, SIMULATE, checked, only
from wire import Done, Finish, Stall, Text, ToolCall, answer

from services.tooling.base import ToolContext

pytestmark = pytest.mark.anyio

RUNS = "/api/agent/runs"


class Asking(LocalTool):
    """A tool that keeps the callers of its runs."""

    def __init__(self) -> None:
        super().__init__("add", added)
        self.callers: list[str | None] = []

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        self.callers.append(context.caller)
        return await super().call(arguments, context)


@pytest.mark.parametrize("lost", ["", "DELETE FROM runs; DELETE FROM sessions"])
@pytest.mark.parametrize("session", [None, "chat"])
def test_a_run_that_a_crash_cut_off_stays_its_owner_s(
    lost: str, session: str | None, nursery: Nursery, tmp_path: Path
) -> None:
    """Ended by the next start, it is found by its owner alone, also if the database has lost its record."""
    with FakeDedalus.in_thread() as fake:
        given = {"AUTH": "keys", "API_KEYS": API_KEYS, "DATA_DIR": str(tmp_path)}
        given |= {"DEDALUS_BASE_URL": fake.url, "DEFAULT_MODEL": "m"}
        fake.turn(Text("one "), Stall())
        with forked_app(nursery, **given) as app, httpx.Client(base_url=app.url, headers=bearer(ADA)) as ada:
            run_id = ada.post(RUNS, json={"input": "?", "session_id": session}).json()["run_id"]
            app.send_signal(signal.SIGKILL)
            app.wait(5)
        with closing(sqlite3.connect(tmp_path / DATABASE)) as database:
            database.executescript(lost)
        with forked_app(nursery, **given) as app, httpx.Client(base_url=app.url, timeout=30) as client:
            run = client.get(f"{RUNS}/{run_id}", headers=bearer(ADA)).json()
            listed = client.get(RUNS, headers=bearer(ADA)).json()["runs"]
            events = client.get(f"{RUNS}/{run_id}/events", headers=bearer(ADA))
            for path in (f"{RUNS}/{run_id}", f"{RUNS}/{run_id}/events"):
                assert client.get(path, headers=bearer(BOB)).status_code == 404
            assert client.get(RUNS, headers=bearer(BOB)).json() == {"runs": []}
    assert (run["status"], run["error"]["code"], run.get("session_id")) == ("failed", "interrupted", session)
    assert [one["run_id"] for one in listed] == [run_id]
    assert checked(events.content)[0]["data"]["owner"] == "ada"


async def test_a_record_that_is_lost_is_restored_with_its_owner() -> None:
    """A look at the run writes the record again from the log, for the owner that the log has."""
    async with guarded_service() as agent, calling(agent, ADA) as ada, calling(agent, BOB) as bob:
        run_id = (await ada.post(SIMULATE, {"delay_ms": 0})).headers["x-run-id"]
        await agent.app.state.write_behind.flush()
        with closing(sqlite3.connect(agent.app.state.settings.data_dir / DATABASE)) as database, database:
            database.execute("DELETE FROM runs")
        assert (await bob.client.get(f"{RUNS}/{run_id}")).status_code == 404
        assert (await ada.client.get(f"{RUNS}/{run_id}")).json()["status"] == "succeeded"
        assert [run["run_id"] for run in (await ada.client.get(RUNS)).json()["runs"]] == [run_id]


async def test_tools_get_the_caller_and_sessions_have_a_cache_of_their_own() -> None:
    """A tool's context has the owner. Two owners' sessions of one id have different keys for the provider's cache."""
    tool = Asking()
    rules = {"custom": {"prompt_cache_key": True}}
    async with FakeDedalus() as fake, guarded_service(fake.url, tools=named(tool), upstream_rules=rules) as agent:
        for key in (ADA, BOB):
            async with calling(agent, key) as caller:
                fake.turn(ToolCall("call_1", "add", '{"a":1,"b":2}'), Finish("tool_calls"), Done())
                fake.turn(*answer("Done."))
                events = await caller.stream({"input": "?", "session_id": "chat", "tools": ["add"]})
                assert only(events, "complete")[0]["status"] == "succeeded"
    assert tool.callers == ["ada", "bob"]
    cache_keys = [chat.body["prompt_cache_key"] for chat in fake.chats]
    assert cache_keys[0] == cache_keys[1] != cache_keys[2] == cache_keys[3]
