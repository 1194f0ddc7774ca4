"""Runs that wait when something else happens: a full server, a queue behind them, a store that is down, two at once."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fake_dedalus import FakeDedalus
from grammar import parse_frames
from live_tasks import task_of, when
from local_tools import LocalTool, gives, named
from mcp_peers import TIME
from run_readers import attached, reading
from service import EXECUTE, STREAM, Service, names, only, service, text
from waiting_runs import ASK, DELETE, PAGE_TOOL, RUNS, calling, decide, deletes, get, refusal, send, waits, whole
from wire import Stall, Text, answer

from database.suspended_runs import delete_waiting_runs
from errors import StoreUnavailable
from events import ApprovalResponse, ToolResult
from models import SimulateRequest
from services.agents.scenarios import CALL, script_after
from services.runs import records as run_records
from services.runs.suspension import InDoubt
from services.tooling.base import ToolContext

pytestmark = pytest.mark.anyio


class Disk:
    """A disk that can be held up."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """What is forced onto it takes until this is left."""
        self.free.clear()
        try:
            yield
        finally:
            self.free.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk, fsync = Disk(), os.fsync

    def slow(descriptor: int) -> None:
        disk.free.wait()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    yield disk
    disk.free.set()


async def begun(agent: Service, **body: Any) -> str:
    """A run in the background that waits."""
    run_id: str = (await agent.post(RUNS, ASK | body)).json()["run_id"]
    async with attached(agent, run_id) as reader:
        await reader.until(b"event: waiting")
    await waits(agent, run_id)
    return run_id


def held() -> tuple[LocalTool, asyncio.Event]:
    """A tool that takes until it is let go."""
    go = asyncio.Event()

    async def work(arguments: Mapping[str, Any]) -> str:
        await go.wait()
        return "done"

    return LocalTool("delete", work), go


# Places


async def test_runs_behind_one_that_waits_take_no_place() -> None:
    """As many may queue as may run: the decision is taken, others run, and the queued ones then have their turns."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), max_concurrent_runs=3) as agent:
        fake.turn(*DELETE)
        fake.always(*answer("ok"))
        first = await begun(agent, session_id="s")
        queued = {"input": "?", "session_id": "s", "multitask": "enqueue"}
        others = [(await agent.post(RUNS, queued)).json()["run_id"] for _ in range(3)]
        assert refusal(await agent.post(RUNS, queued)) == (503, "server_full")
        assert [(await get(agent, run_id))["status"] for run_id in others] == ["queued"] * 3
        assert text(await agent.stream({"input": "?"})) == "ok"
        assert (await decide(agent, first)).status_code == 202
        ended = [only(await whole(agent, run_id), "complete")[0]["status"] for run_id in (first, *others)]
    assert ended == ["succeeded"] * 4


async def test_a_long_queue_holds_up_nobody() -> None:
    """Forty runs behind one that goes on, each behind all before it; then they go with their session's first."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.always(Text("one"), Stall())
        queued = {"input": "?", "session_id": "s", "multitask": "enqueue"}
        ids = [(await agent.post(RUNS, queued)).json()["run_id"] for _ in range(41)]
        assert [(await get(agent, run_id))["status"] for run_id in ids] == ["running", *["queued"] * 40]
        assert not any(task_of(agent, run_id).is_held for run_id in ids)
        for run_id in reversed(ids):
            await agent.post(f"{RUNS}/{run_id}/cancel", {})
        ended = [only(await whole(agent, run_id), "complete")[0]["status"] for run_id in ids]
    assert ended == ["cancelled"] * 41


async def test_the_end_of_a_run_that_waited_is_waited_for(disk: Disk) -> None:
    """A service that stops has told in the log how runs end that were being cancelled, though nothing else goes on."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        fake.turn(*DELETE)
        first = await begun(agent, session_id="s")
        second = (await agent.post(RUNS, {"input": "?", "session_id": "s", "multitask": "enqueue"})).json()["run_id"]
        tasks = [task_of(agent, run_id) for run_id in (first, second)]
        async with disk.busy():
            for task in tasks:
                task.cancel()
            closing = asyncio.create_task(agent.app.state.live.aclose())
            await agent.client.get("/health")
            assert not closing.done()
        await closing
        assert [task.has_ended for task in tasks] == [True, True]


async def test_there_are_not_too_many_that_wait() -> None:
    """MAX_WAITING_RUNS; one more is a 503, and the next has the place of one that goes on."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), max_waiting_runs=1) as agent:
        fake.turn(*DELETE)
        fake.always(*answer("ok"))
        first = await begun(agent)
        assert refusal(await agent.post(STREAM, {"input": "?"})) == (503, "server_full")
        await decide(agent, first)
        await whole(agent, first)
        assert text(await agent.stream({"input": "?"})) == "ok"


async def test_decisions_at_the_same_time_share_the_places(disk: Disk) -> None:
    """With one place, of two decisions one is taken and one has to be sent again."""
    tool, go = held()
    given: dict[str, Any] = {"max_concurrent_runs": 1, "event_log_fsync": "commit"}
    async with FakeDedalus() as fake, service(fake.url, named(tool), **given) as agent:
        fake.turn(*DELETE)
        fake.turn(*DELETE)
        fake.always(*answer("ok"))
        runs = [await begun(agent), await begun(agent)]
        async with disk.busy():
            deciding = [asyncio.create_task(decide(agent, run_id)) for run_id in runs]
            await asyncio.wait(deciding, return_when=asyncio.FIRST_COMPLETED)
        answers = [await decided for decided in deciding]
        assert sorted(response.status_code for response in answers) == [202, 503]
        go.set()
        [later] = [run_id for run_id, a in zip(runs, answers, strict=True) if a.status_code == 503]
        [now] = set(runs) - {later}
        await whole(agent, now)
        assert (await decide(agent, later)).status_code == 202
        await whole(agent, later)


# Answers


async def test_a_call_has_one_result() -> None:
    """Two results for one call in one request are refused, and nothing is taken."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(*calling(("a", "locate", "{}")))
        fake.turn(*answer("ok"))
        async with reading(agent, client_tools=[PAGE_TOOL]) as reader:
            await reader.until(b"event: waiting")
            one = {"tool_call_id": "a", "content": 1}
            assert refusal(await send(agent, reader.run_id, one, one)) == (422, "invalid_request")
            assert (await send(agent, reader.run_id, one)).status_code == 202
            await reader.rest()


async def test_a_time_that_runs_out_during_an_answer(disk: Disk) -> None:
    """One call is answered while the other's time runs out: the answer counts, and the other is refused."""
    given: dict[str, Any] = {"approval_timeout_s": 0.3, "event_log_fsync": "commit"}
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), **given) as agent:
        fake.turn(*calling(("call_1", "delete", '{"folder":"a"}'), ("call_2", "delete", '{"folder":"b"}')))
        fake.turn(*answer("ok"))
        run_id = await begun(agent)
        async with disk.busy():
            deciding = asyncio.create_task(decide(agent, run_id))
            await when(lambda: bool(task_of(agent, run_id).inbox._tasks))
        assert (await deciding).status_code == 202
        events = await whole(agent, run_id)
    assert [response["approved"] for response in only(events, "approval_response")] == [True, False]


async def test_a_decision_is_not_taken_while_the_database_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """503, and the run waits on: sent again, it counts."""
    tool = deletes()
    async with FakeDedalus() as fake, service(fake.url, named(tool)) as agent:
        fake.turn(*DELETE)
        fake.turn(*answer("ok"))
        run_id = await begun(agent)

        async def down(*_: object) -> None:
            raise StoreUnavailable

        with monkeypatch.context() as patched:
            patched.setattr(run_records, "get_suspended_run", down)
            assert refusal(await decide(agent, run_id)) == (503, "store_unavailable")
        assert (await get(agent, run_id))["status"] == "waiting"
        assert (await decide(agent, run_id)).status_code == 202
        await whole(agent, run_id)
    assert len(tool.heard) == 1


async def test_a_run_that_can_t_go_on_does_not_wait_for_ever() -> None:
    """Its time runs out, and what it would go on with is not there any more: it fails, and says so."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), approval_timeout_s=0.3) as agent:
        fake.turn(*DELETE)
        run_id = await begun(agent)
        async with agent.app.state.database.writing() as connection:
            await delete_waiting_runs(connection, [run_id])
        events = await whole(agent, run_id)
    assert only(events, "error")[0]["code"] == "internal_error"


async def test_an_id_of_the_upstream_s_can_have_any_characters() -> None:
    """What a path can't hold is replaced; the rest is decided on by its own id."""
    ids = ("a/b", "..", ".", "x?y#z %")
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        fake.turn(*calling(*((call_id, "delete", '{"folder":"x"}') for call_id in ids)))
        fake.turn(*answer("ok"))
        run_id = await begun(agent)
        pending = [call["tool_call_id"] for call in (await get(agent, run_id))["pending"]]
        for call_id in pending:
            assert (await decide(agent, run_id, quote(call_id, safe=""))).status_code == 202
        await whole(agent, run_id)
    assert pending[-1] == ids[-1]
    assert not set(pending) & set(ids[:-1])


async def test_execute_answers_with_the_wait_that_is_on() -> None:
    """Asked again with its key during a second wait, and with a call answered already."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        fake.turn(Text("One."), *DELETE)
        fake.turn(
            Text("Two."),
            *calling(("call_2", "delete", '{"folder":"a"}'), ("call_3", "delete", '{"folder":"b"}')),
        )
        fake.turn(*answer("ok"))
        key = {"Idempotency-Key": "k1"}
        run_id = (await agent.post(EXECUTE, ASK, **key)).json()["run_id"]
        async with attached(agent, run_id) as reader:
            await decide(agent, run_id)
            await reader.until(b"event: waiting", times=2)
            await decide(agent, run_id, "call_3")
            again = (await agent.post(EXECUTE, ASK, **key)).json()
            await decide(agent, run_id, "call_2")
            await reader.rest()
        at_last = (await agent.post(EXECUTE, ASK, **key)).json()
    assert ([call["tool_call_id"] for call in again["pending"]], again["output"], again["steps"]) == (
        ["call_2"],
        "Two.",
        2,
    )
    assert (at_last["status"], "pending" in at_last) == ("succeeded", False)


# Sessions and readers


async def test_a_run_that_goes_on_without_a_reader_is_not_abandoned() -> None:
    """The session's next message is a 409 while an approved call is made, though nobody reads the run."""
    tool, go = held()
    async with FakeDedalus() as fake, service(fake.url, named(tool)) as agent:
        fake.turn(*DELETE)
        fake.turn(*answer("ok"))
        async with reading(agent, **ASK, session_id="chat") as reader:
            await reader.until(b"event: waiting")
        await when(lambda: task_of(agent, reader.run_id).readers.count == 0)
        await decide(agent, reader.run_id)
        await when(lambda: bool(tool.heard))
        assert refusal(await agent.post(RUNS, {"input": "?", "session_id": "chat"})) == (409, "session_busy")
        go.set()
        assert only(await whole(agent, reader.run_id), "complete")[0]["status"] == "succeeded"


async def test_who_reads_a_run_that_waits_does_not_hold_up_the_end() -> None:
    """The drain is over at once: the reader gets `draining`, and the run waits on, as does one behind it."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), drain_s=600) as agent:
        fake.turn(*DELETE)
        async with reading(agent, **ASK, session_id="s") as reader:
            await reader.until(b"event: waiting")
            await waits(agent, reader.run_id)
            behind = {"input": "?", "session_id": "s", "multitask": "enqueue"}
            queued = (await agent.post(RUNS, behind)).json()["run_id"]
            await agent.app.state.live.drain()
            assert b"event: draining" in await reader.rest()
            assert refusal(await decide(agent, reader.run_id)) == (503, "server_draining")
        assert (await get(agent, reader.run_id))["status"] == "waiting"
        assert (await get(agent, queued))["status"] == "queued"


# Approvals can't be passed by


@pytest.mark.parametrize("hosted", [True, False])
async def test_a_server_that_is_down_excuses_no_other_name(hosted: bool) -> None:
    """Only its own tools can't be called; where the upstream calls servers, not even those are sure."""
    down = {"command": "/bin/false"}
    given: dict[str, Any] = {"mcp_servers": {"down": down, "time": TIME}}
    names_of = ["down__erase"] if hosted else ["down__erase", "get_time"]
    others = ["tsion/exa"] if hosted else [{"name": "time", "run": "local"}]
    async with FakeDedalus() as fake, service(fake.url, **given) as agent:
        asked: dict[str, Any] = {
            "input": "?",
            "mcp_servers": [{"name": "down", "run": "local"}, *others],
            "require_approval": names_of,
        }
        events = await agent.stream(asked)
        assert only(events, "error")[0]["code"] == "tool_unavailable"
        assert fake.chats == []
        fake.turn(*answer("ok"))
        excused = asked | {"mcp_servers": [{"name": "down", "run": "local"}], "require_approval": ["down__erase"]}
        assert names(await agent.stream(excused))[-1] == "complete"


async def test_urls_pass_the_guard_whoever_calls_them() -> None:
    """An MCP server that the upstream calls, one that we call, and an image; nothing is started."""
    async with FakeDedalus() as fake, service(fake.url, url_denied=("evil.example",)) as agent:
        for url in ("https://169.254.169.254/x", "https://localhost/mcp", "https://evil.example/", "https://u:p@a.de/"):
            image = [{"type": "image", "url": url}]
            for body in ({"mcp_servers": [url]}, {"mcp_servers": [{"url": url, "run": "local"}]}, {"input": image}):
                assert refusal(await agent.post(STREAM, {"input": "?"} | body)) == (422, "url_refused"), body
        assert fake.requests == []


@pytest.mark.parametrize(
    "body",
    [
        '{"approved":"yes"}',
        '{"approved":1}',
        '{"approved":true,"arguments":{"folder":"\\ud800"}}',
        '{"approved":true,"arguments":{"n":1e400}}',
        '{"approved":false,"reason":"\\ud800"}',
    ],
)
async def test_a_decision_is_clear(body: str) -> None:
    """Only true approves, and what comes with it is JSON that everybody can read."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        fake.turn(*DELETE)
        run_id = await begun(agent)
        headers = {"content-type": "application/json"}
        response = await agent.client.post(f"{RUNS}/{run_id}/approvals/call_1", content=body, headers=headers)
        assert refusal(response) == (422, "invalid_request")
        assert (await get(agent, run_id))["status"] == "waiting"
        await agent.client.post(f"{RUNS}/{run_id}/cancel")


@asynccontextmanager
async def with_server(flag: Path) -> AsyncIterator[tuple[FakeDedalus, Service]]:
    """A service whose MCP server starts only while the flag is there."""
    command = [TIME["command"], *TIME["args"]]
    server = {"command": "sh", "args": ["-c", f'test -e {flag} && exec "$@"; exit 1', "sh", *command]}
    given: dict[str, Any] = {"mcp_servers": {"time": server}, "dedalus_base_url_hosts_mcp": False}
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), **given) as agent:
        yield fake, agent


async def test_a_server_that_comes_back_during_a_wait_brings_no_unasked_call(tmp_path: Path) -> None:
    """A misspelt name was none of the run's tools at its start; where the right one appears, the run fails."""
    async with with_server(tmp_path / "up") as (fake, agent):
        fake.turn(*DELETE)
        asked = {"mcp_servers": ["time"], "require_approval": ["delete", "time__get_time"]}
        run_id = await begun(agent, **asked)
        (tmp_path / "up").write_text("")
        await decide(agent, run_id)
        events = await whole(agent, run_id)
    assert only(events, "error")[0]["code"] == "tool_unavailable"


async def test_a_server_that_goes_during_a_wait(tmp_path: Path) -> None:
    """Other arguments can't be checked, so they are a 502; the call as it is gets a result that says why."""
    flag, name = tmp_path / "up", "time__get_current_time"
    flag.write_text("")
    async with with_server(flag) as (fake, agent):
        fake.turn(*calling(("call_1", name, '{"timezone":"UTC"}')))
        fake.turn(*answer("ok"))
        run_id = await begun(agent, mcp_servers=["time"], require_approval=[name])
        flag.unlink()
        for session in list((await agent.app.state.tools._servers._loaded())._open):
            await session.aclose()
        assert refusal(await decide(agent, run_id, arguments={"timezone": 5})) == (502, "mcp_server_failed")
        await decide(agent, run_id)
        events = await whole(agent, run_id)
    assert only(events, "tool_result")[0]["content"] == "Not called: the server of this tool can't be reached now."


# What tools do


class Odd(LocalTool):
    """Tells at length how far it is; checks its arguments badly."""

    def check(self, arguments: Mapping[str, Any]) -> None:
        if arguments.get("folder") == "bad":
            raise KeyError("the author's")

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        context.progress("\ud800" + "x" * 100_000, float("nan"), 1)
        return "done"


async def test_a_name_that_the_model_has_made_up_is_told_to_it() -> None:
    """Where the upstream runs no tools and we do; the model calls the right one then."""
    async with FakeDedalus() as fake, service(fake.url, named(gives("look", "seen"))) as agent:
        fake.turn(*calling(("a", "glance", "{}")))
        fake.turn(*calling(("b", "look", "{}")))
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert [(r["content"], r["is_error"]) for r in only(events, "tool_result")] == [
        ("There is no tool of this name.", True),
        ("seen", False),
    ]


async def test_a_made_up_call_is_no_success_where_nobody_runs_any() -> None:
    """Neither tools of ours nor an upstream that hosts MCP servers: the model is told, and answers."""
    async with FakeDedalus() as fake, service(fake.url, dedalus_base_url_hosts_mcp=False) as agent:
        fake.turn(*calling(("a", "glance", "{}")))
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert [(r["content"], r["is_error"]) for r in only(events, "tool_result")] == [
        ("There is no tool of this name.", True),
    ]
    assert only(events, "final_output") == [{"content": "ok"}]


async def test_a_tool_can_t_flood_the_stream_or_break_the_run() -> None:
    """A report's message is cut, what is no number left out; a check that fails is the call's error."""
    tool = Odd("delete", deletes()._work)
    async with FakeDedalus() as fake, service(fake.url, named(tool)) as agent:
        fake.turn(*calling(("a", "delete", "{}"), ("b", "delete", '{"folder":"bad"}')))
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert only(events, "tool_progress") == [{"tool_call_id": "a", "message": "\ufffd" + "x" * 999, "total": 1}]
    results = {result["tool_call_id"]: result["content"] for result in only(events, "tool_result")}
    assert results == {"a": "done", "b": "The tool failed with KeyError."}


def cut_after_the_first_wait(directory: Path, run_id: str) -> None:
    [file] = directory.rglob(f"{run_id}.sse")
    frames = file.read_bytes()
    file.write_bytes(frames[: frames.index(b"\n\n", frames.index(b"event: waiting")) + 2])


async def test_the_log_and_what_is_stored_are_of_the_same_wait(tmp_path: Path) -> None:
    """After a power cut they may not be: then the run can't go on from there, and is ended as interrupted."""
    async with FakeDedalus() as fake:
        fake.turn(*DELETE)
        fake.turn(*calling(("call_2", "delete", '{"folder":"spam"}')))
        async with service(fake.url, named(deletes()), data_dir=tmp_path) as agent:
            run_id = await begun(agent)
            async with attached(agent, run_id) as reader:
                await decide(agent, run_id)
                await reader.until(b"event: waiting", times=2)
            await waits(agent, run_id)
        cut_after_the_first_wait(tmp_path, run_id)
        async with service(fake.url, named(deletes()), data_dir=tmp_path) as agent:
            events = parse_frames((await agent.client.get(f"{RUNS}/{run_id}/events")).content)
    assert only(events, "error")[0]["code"] == "interrupted"


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (InDoubt(ApprovalResponse(tool_call_id=CALL, approved=False)), "I left the folder as it is."),
        (InDoubt(ApprovalResponse(tool_call_id=CALL, approved=True)), "I don't know whether the folder is deleted."),
        (ToolResult(tool_call_id=CALL, name="x", content="", is_error=True, truncated=False), "I left the folder"),
        (ToolResult(tool_call_id=CALL, name="x", content="", is_error=False, truncated=False), "I deleted the folder."),
    ],
)
def test_a_scripted_run_knows_what_a_crash_has_left(outcome: Any, said: str) -> None:
    """Whatever had happened to its call before the restart."""
    beats = script_after(SimulateRequest.model_validate({"scenario": "approval"}), {CALL: outcome})
    told = "".join(getattr(beat, "content", "") for beat in beats if type(beat).__name__ == "PartialOutput")
    assert told.startswith(said)
