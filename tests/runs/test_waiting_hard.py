"""Tests suspended runs in difficult conditions: a full server, queued runs, a store that fails, simultaneous
answers.
"""

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
from lending import Lend
from live_tasks import task_of, when
from local_tools import LocalTool, gives, named
from mcp_hands import CLOCK
from run_readers import attached, reading
from service import EXECUTE, STREAM, Service, names, only, service, text
from waiting_runs import (
    ASK,
    DELETE,
    PAGE_TOOL,
    RUNS,
    calling,
    decide,
    deletes,
    get,
    refusal,
    send,
    waiting_run,
    waits,
    whole,
)
from wire import Stall, Text, answer

from database.suspended_runs import delete_waiting_runs
from errors import StoreUnavailable
from event_data import ApprovalResponse, ToolResult
from models import SimulateRequest
from services.agents.scenarios import CALL, script_after
from services.runs import records as run_records
from services.runs.suspension import InDoubt
from services.tooling.base import ToolContext

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio


class Disk:
    """A disk whose writes can be blocked."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Block every flush to the disk until the context is left."""
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
    """Start a background run, wait until it is suspended, and return its id."""
    run_id: str = (await agent.post(RUNS, ASK | body)).json()["run_id"]
    async with attached(agent, run_id) as reader:
        await reader.until(b"event: waiting")
    await waits(agent, run_id)
    return run_id


def held() -> tuple[LocalTool, asyncio.Event]:
    """A tool whose calls block until the test releases them."""
    go = asyncio.Event()

    async def work(arguments: Mapping[str, Any]) -> str:
        await go.wait()
        return "done"

    return LocalTool("delete", work), go


# Places


async def test_runs_behind_one_that_waits_take_no_place() -> None:
    """Runs queued behind a suspended run take no slots: the approval is accepted, another run completes, and the
    queued runs follow. The queue has its own limit.
    """
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


async def test_a_long_queue_holds_up_nobody(lend: Lend) -> None:
    """Forty runs queue behind a running one, and each can be cancelled."""
    async with lend() as (fake, agent):
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
    """A service that stops first writes the end of each run that is being cancelled, even if that is all there is
    to wait for.
    """
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
    """Above MAX_WAITING_RUNS a new run is a 503. A suspended run that resumes makes room for the next."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), max_waiting_runs=1) as agent:
        fake.turn(*DELETE)
        fake.always(*answer("ok"))
        first = await begun(agent)
        assert refusal(await agent.post(STREAM, {"input": "?"})) == (503, "server_full")
        await decide(agent, first)
        await whole(agent, first)
        assert text(await agent.stream({"input": "?"})) == "ok"


async def test_decisions_at_the_same_time_share_the_places(disk: Disk) -> None:
    """With one free slot, one of two simultaneous decisions is accepted and the other has to be sent again."""
    tool, go = held()
    settings: dict[str, Any] = {"max_concurrent_runs": 1, "event_log_fsync": "commit"}
    async with FakeDedalus() as fake, service(fake.url, named(tool), **settings) as agent:
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


async def test_a_call_has_one_result(lend: Lend) -> None:
    """Two results for one call in one request are refused, and neither is recorded."""
    async with lend() as (fake, agent):
        fake.turn(*calling(("a", "locate", "{}")))
        fake.turn(*answer("ok"))
        async with waiting_run(agent, client_tools=[PAGE_TOOL]) as run_id:
            one = {"tool_call_id": "a", "content": 1}
            assert refusal(await send(agent, run_id, one, one)) == (422, "invalid_request")
            assert (await send(agent, run_id, one)).status_code == 202


async def test_a_time_that_runs_out_during_an_answer(disk: Disk) -> None:
    """When one call is answered as another's time runs out, the answer counts and the other call is refused."""
    settings: dict[str, Any] = {"approval_timeout_s": 0.3, "event_log_fsync": "commit"}
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), **settings) as agent:
        fake.turn(*calling(("call_1", "delete", '{"folder":"a"}'), ("call_2", "delete", '{"folder":"b"}')))
        fake.turn(*answer("ok"))
        run_id = await begun(agent)
        async with disk.busy():
            deciding = asyncio.create_task(decide(agent, run_id))
            await when(lambda: bool(task_of(agent, run_id)._inbox._tasks))
        assert (await deciding).status_code == 202
        events = await whole(agent, run_id)
    assert [response["approved"] for response in only(events, "approval_response")] == [True, False]


async def test_a_decision_is_not_taken_while_the_database_is_down(monkeypatch: pytest.MonkeyPatch, lend: Lend) -> None:
    """The decision is a 503 and the run stays suspended. Sent again later, it is accepted."""
    tool = deletes()
    async with lend(named(tool)) as (fake, agent):
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


async def test_a_run_that_can_t_resume_does_not_wait_for_ever() -> None:
    """A run whose checkpoint was lost fails with `internal_error` when its time runs out."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), approval_timeout_s=0.3) as agent:
        fake.turn(*DELETE)
        run_id = await begun(agent)
        async with agent.app.state.database.writing() as connection:
            await delete_waiting_runs(connection, [run_id])
        events = await whole(agent, run_id)
    assert only(events, "error")[0]["code"] == "internal_error"


async def test_an_id_of_the_upstream_s_can_have_any_characters() -> None:
    """A call id that a path can't hold is replaced, and each call can be decided by the id that is listed."""
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
    """Repeated with its key, /execute returns the current wait: the second one, and without the call already
    answered.
    """
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


async def test_a_run_that_resumes_without_a_reader_is_not_abandoned(lend: Lend) -> None:
    """The session's next message is a 409 while an approved call is running, although the run has no reader."""
    tool, go = held()
    async with lend(named(tool)) as (fake, agent):
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


async def test_a_reader_of_a_waiting_run_does_not_hold_up_the_end() -> None:
    """The drain ends at once: the reader gets `draining`, and the suspended run and the one queued behind it stay
    stored.
    """
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


# Approvals can't be bypassed


@pytest.mark.parametrize("hosted", [True, False])
async def test_a_server_that_is_down_excuses_no_other_name(hosted: bool) -> None:
    """Only names of the unavailable server's own tools are excused in `require_approval`, and none if the upstream
    calls servers itself.
    """
    down = {"command": "/bin/false"}
    settings: dict[str, Any] = {"mcp_servers": {"down": down, "clock": CLOCK}}
    names_of = ["down__erase"] if hosted else ["down__erase", "get_time"]
    others = ["tsion/exa"] if hosted else [{"name": "clock", "run": "local"}]
    async with FakeDedalus() as fake, service(fake.url, **settings) as agent:
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
    """The URL guard checks MCP servers called by the upstream or by this service, and images.

    A refused URL starts no run.
    """
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
    """Only `true` approves a call, and arguments must be valid JSON.

    Anything else is refused and the run stays suspended.
    """
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
    """Start a service whose MCP server is available only while the flag file exists."""
    command = [CLOCK["command"], *CLOCK["args"]]
    server = {"command": "sh", "args": ["-c", f'test -e {flag} && exec "$@"; exit 1', "sh", *command]}
    settings: dict[str, Any] = {"mcp_servers": {"clock": server}, "dedalus_base_url_hosts_mcp": False}
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), **settings) as agent:
        yield fake, agent


async def test_a_server_that_comes_back_during_a_wait_brings_no_unasked_call(tmp_path: Path) -> None:
    """If a server comes back during a wait without a tool that the request names for approval, the run fails: the
    tool may have another name now, under which it would be called without approval.
    """
    async with with_server(tmp_path / "up") as (fake, agent):
        fake.turn(*DELETE)
        asked = {"mcp_servers": ["clock"], "require_approval": ["delete", "clock__get_time"]}
        run_id = await begun(agent, **asked)
        (tmp_path / "up").write_text("")
        await decide(agent, run_id)
        events = await whole(agent, run_id)
    assert only(events, "error")[0]["code"] == "tool_unavailable"


async def test_a_server_that_goes_during_a_wait(tmp_path: Path) -> None:
    """Without the server, changed arguments can't be checked and are a 502.

    The unchanged call gets a result that says why it failed.
    """
    flag, name = tmp_path / "up", "clock__now"
    flag.write_text("")
    async with with_server(flag) as (fake, agent):
        fake.turn(*calling(("call_1", name, '{"zone":"UTC"}')))
        fake.turn(*answer("ok"))
        run_id = await begun(agent, mcp_servers=["clock"], require_approval=[name])
        flag.unlink()
        for session in list((await agent.app.state.tools._servers._loaded())._open):
            await session.aclose()
        assert refusal(await decide(agent, run_id, arguments={"zone": 5})) == (502, "mcp_server_failed")
        await decide(agent, run_id)
        events = await whole(agent, run_id)
    assert only(events, "tool_result")[0]["content"] == "Not called: the server of this tool can't be reached now."


# What tools do


class Odd(LocalTool):
    """A tool that reports progress in long and invalid messages, and whose check of arguments fails."""

    def check(self, arguments: Mapping[str, Any]) -> None:
        if arguments.get("folder") == "bad":
            raise KeyError("the author's")

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        context.progress("\ud800" + "x" * 100_000, float("nan"), 1)
        return "done"


async def test_a_name_that_the_model_has_made_up_is_reported_to_it() -> None:
    """If only this service runs tools, an unknown tool name gets an error result, and the model can then call the
    right tool.
    """
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
    """If neither this service nor the upstream runs tools, the model gets an error result and answers."""
    async with FakeDedalus() as fake, service(fake.url, dedalus_base_url_hosts_mcp=False) as agent:
        fake.turn(*calling(("a", "glance", "{}")))
        fake.turn(*answer("ok"))
        events = await agent.stream({"input": "?"})
    assert [(r["content"], r["is_error"]) for r in only(events, "tool_result")] == [
        ("There is no tool of this name.", True),
    ]
    assert only(events, "final_output") == [{"content": "ok"}]


async def test_a_tool_can_t_flood_the_stream_or_break_the_run(lend: Lend) -> None:
    """A progress message is cut, values that are no numbers are left out, and a check that fails is the call's
    error.
    """
    tool = Odd("delete", deletes()._work)
    async with lend(named(tool)) as (fake, agent):
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
    """After a power cut the log and the stored checkpoint can belong to different waits.

    The run then ends as interrupted.
    """
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
    """After a restart a scripted run's text agrees with what had happened to its call."""
    beats = script_after(SimulateRequest.model_validate({"scenario": "approval"}), {CALL: outcome})
    streamed = "".join(getattr(beat, "content", "") for beat in beats if type(beat).__name__ == "PartialOutput")
    assert streamed.startswith(said)
