"""Tests that queued runs survive the end of their process and take their turns in the next one."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fake_dedalus import FakeDedalus
from live_tasks import task_of, when
from local_tools import named
from process import Nursery
from restarts import CALLS, Place
from run_readers import attached, events_url, reading
from service import EXECUTE, STREAM, Service, checked, names, only, service, text
from session_calls import SESSIONS, messages
from waiting_runs import ASK, DELETE, RUNS, decide, deletes, get, refusal, waits, whole
from wire import Done, Finish, Gate, Stall, Text, WaitFor, answer

from database.tables import waiting_runs
from run_models import ANONYMOUS, SessionKey

pytestmark = pytest.mark.anyio

QUEUED: dict[str, Any] = {"session_id": "chat", "multitask": "enqueue"}


@asynccontextmanager
async def started(fake: FakeDedalus, directory: Path, **given: Any) -> Any:
    async with service(fake.url, named(deletes()), data_dir=directory, **given) as agent:
        yield agent


async def enqueue(agent: Service, *questions: str, **headers: str) -> list[str]:
    """Start background runs, each queued behind the ones before it."""
    responses = [await agent.post(RUNS, QUEUED | {"input": question}, **headers) for question in questions]
    assert [response.json()["status"] for response in responses] == ["queued"] * len(questions)
    return [response.json()["run_id"] for response in responses]


async def statuses(agent: Service, run_ids: Sequence[str]) -> list[str]:
    return [(await get(agent, run_id))["status"] for run_id in run_ids]


async def stored(agent: Service) -> int:
    """Return how many requests of suspended and queued runs are stored."""
    await agent.app.state.write_behind.flush()
    async with agent.app.state.database.reading() as connection:
        return int(await connection.scalar(sa.select(sa.func.count()).select_from(waiting_runs)) or 0)


def asked(fake: FakeDedalus) -> list[str]:
    """Return the last message of each request to the model server."""
    return [chat.body["messages"][-1]["content"] for chat in fake.chats]


# A process of its own


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_queued_runs_wait_through_restarts(how: signal.Signals, tmp_path: Path, nursery: Nursery) -> None:
    """Runs queued behind a suspended one survive two restarts. After the approval each runs once, in order."""
    with FakeDedalus.in_thread() as fake:
        place = Place(tmp_path, fake, nursery)
        fake.turn(*CALLS)
        for reply in ("deleted", "two", "three"):
            fake.turn(*answer(reply))
        with place.served() as (process, client):
            first = client.post(RUNS, json={"input": "One?", "session_id": "chat"}).json()["run_id"]
            _read_until(client, first, b"event: waiting")
            key = {"Idempotency-Key": "k"}
            second = client.post(RUNS, json=QUEUED | {"input": "Two?"}, headers=key).json()["run_id"]
            with client.stream("POST", STREAM, json=QUEUED | {"input": "Three?"}) as stream:
                third = stream.headers["x-run-id"]
                seen = _first_frame(stream)
                process.send_signal(how)
                process.wait(10)
        for _ in range(2):
            with place.served() as (process, client):
                assert [_status(client, run_id) for run_id in (first, second, third)] == ["waiting", "queued", "queued"]
                again = client.post(RUNS, json=QUEUED | {"input": "Two?"}, headers=key)
                assert again.json()["run_id"] == second
                busy = client.post(RUNS, json={"input": "Four?", "session_id": "chat"})
                assert (busy.status_code, busy.json()["error"]["code"]) == (409, "session_busy")
                process.send_signal(how)
                process.wait(10)
        with place.served() as (_, client):
            client.post(f"{RUNS}/{first}/approvals/call_1", json={"approved": True})
            ends = [checked(client.get(events_url(run_id)).content) for run_id in (first, second, third)]
            replay = client.get(events_url(third)).content
        assert [text(end, "final_output") for end in ends] == ["deleted", "two", "three"]
        assert seen in replay
        assert asked(fake) == ["One?", "deleted", "Two?", "Three?"]
        assert len(fake.chats) == 4


def test_queued_runs_take_their_turns_after_a_run_that_a_crash_cut_off(tmp_path: Path, nursery: Nursery) -> None:
    """The running run is interrupted and not repeated. The runs queued behind it begin at the next start."""
    with FakeDedalus.in_thread() as fake:
        place = Place(tmp_path, fake, nursery)
        fake.turn(Text("I was about"), Stall())
        for reply in ("two", "three"):
            fake.turn(*answer(reply))
        with place.served() as (process, client):
            first = client.post(RUNS, json={"input": "One?", "session_id": "chat"}).json()["run_id"]
            _read_until(client, first, b"I was about")
            queued = [
                client.post(RUNS, json=QUEUED | {"input": question}).json()["run_id"] for question in ("Two?", "Three?")
            ]
            process.kill()
        with place.served() as (_, client):
            ends = [checked(client.get(events_url(run_id)).content) for run_id in (first, *queued)]
        assert only(ends[0], "error")[0]["code"] == "interrupted"
        assert [text(end, "final_output") for end in ends[1:]] == ["two", "three"]
        assert [m["content"] for m in fake.chats[2].body["messages"]] == [
            "One?",
            "I was about",
            "Two?",
            "two",
            "Three?",
        ]
        assert len(fake.chats) == 3


def test_a_queued_run_whose_turn_had_come_is_not_begun_again(tmp_path: Path, nursery: Nursery) -> None:
    """A crash during a queued run's turn interrupts it like any run, so the model server is asked at most once."""
    with FakeDedalus.in_thread() as fake:
        place = Place(tmp_path, fake, nursery)
        fake.turn(Text("one"), Stall())
        fake.turn(Text("two"), Stall())
        with place.served() as (process, client):
            first = client.post(RUNS, json={"input": "One?", "session_id": "chat"}).json()["run_id"]
            second = client.post(RUNS, json=QUEUED | {"input": "Two?"}).json()["run_id"]
            client.post(f"{RUNS}/{first}/cancel")
            _read_until(client, second, b'"two"')
            process.kill()
        with place.served() as (_, client):
            events = checked(client.get(events_url(second)).content)
        assert only(events, "error")[0]["code"] == "interrupted"
        assert len(fake.chats) == 2


def _status(client: httpx.Client, run_id: str) -> str:
    status: str = client.get(f"{RUNS}/{run_id}").json()["status"]
    return status


def _read_until(client: httpx.Client, run_id: str, mark: bytes) -> None:
    with client.stream("GET", events_url(run_id)) as stream:
        pieces = stream.iter_raw()
        while mark not in next(pieces):
            pass


def _first_frame(stream: httpx.Response) -> bytes:
    """Return the bytes of the first event, as replayed."""
    seen = b""
    for piece in stream.iter_raw():
        seen += piece
        if b"run_started" in seen:
            break
    return seen[seen.index(b"id: ") :]


# Draining


async def test_a_drain_begins_no_queued_run(tmp_path: Path) -> None:
    """If the run before it ends during the drain, the queued run's reader gets `draining`, and can follow it in the
    next process.
    """
    gate = Gate()
    async with FakeDedalus() as fake:
        fake.turn(Text("one"), WaitFor(gate), Finish("stop"), Done())
        async with started(fake, tmp_path, drain_s=600) as agent:
            async with reading(agent, session_id="chat") as first:
                await first.until(b'"one"')
                async with reading(agent, **QUEUED) as second:
                    await second.until(b"run_started")
                    draining = asyncio.create_task(agent.app.state.live.drain())
                    await when(lambda: agent.app.state.live._admission.draining)
                    gate.open()
                    assert only(checked(await first.rest()), "complete")[0]["status"] == "succeeded"
                    await draining
                    assert b"event: draining" in await second.rest()
            assert await statuses(agent, [second.run_id]) == ["queued"]
        assert len(fake.chats) == 1
        fake.turn(*answer("two"))
        async with started(fake, tmp_path) as agent:
            assert text(await whole(agent, second.run_id)) == "two"
            stored = await messages(agent)
    assert [message["content"] for message in stored] == ["?", "one", "?", "two"]


async def test_a_queued_run_can_be_cancelled_while_the_server_drains(tmp_path: Path) -> None:
    """It ends as cancelled and keeps this status after a restart."""
    async with FakeDedalus() as fake:
        fake.turn(Text("one"), Stall())
        async with started(fake, tmp_path, drain_s=600) as agent:
            async with reading(agent, session_id="chat") as first:
                await first.until(b'"one"')
                [queued] = await enqueue(agent, "Two?")
                draining = asyncio.create_task(agent.app.state.live.drain())
                await when(lambda: task_of(agent, queued).is_held)
                await agent.client.post(f"{RUNS}/{queued}/cancel")
                await when(lambda: agent.app.state.live.get(queued) is None)
                await agent.client.post(f"{RUNS}/{first.run_id}/cancel")
                await first.rest()
            await draining
        async with started(fake, tmp_path) as agent:
            assert names(await whole(agent, queued)) == ["run_started", "complete"]


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_client_that_waits_for_the_json_answer_of_a_queued_run_may_ask_again(
    key: str | None, tmp_path: Path
) -> None:
    """The drain answers 503 at once.

    With a key the run continues in the next process, and without one it is cancelled.
    """
    headers = {} if key is None else {"Idempotency-Key": key}
    async with FakeDedalus() as fake:
        fake.turn(*DELETE)
        async with started(fake, tmp_path, drain_s=600) as agent:
            first = (await agent.post(RUNS, ASK | {"session_id": "chat"})).json()["run_id"]
            await waits(agent, first)
            asking = asyncio.create_task(agent.post(EXECUTE, QUEUED | {"input": "Two?"}, **headers))
            await when(lambda: any(task.readers.count and task.is_queued for task in agent.app.state.live.tasks))
            await agent.app.state.live.drain()
            refused = await asking
        assert refusal(refused) == (503, "server_draining")
        assert refused.headers["retry-after"]
        second = refused.json()["error"]["run_id"]
        fake.turn(*answer("Done."))
        fake.turn(*answer("two"))
        async with started(fake, tmp_path) as agent:
            assert await statuses(agent, [second]) == ["cancelled" if key is None else "queued"]
            await decide(agent, first)
            again = await agent.post(EXECUTE, QUEUED | {"input": "Two?"}, **headers)
    assert again.json()["output"] == "two"
    assert (again.json()["run_id"] == second) is (key is not None)


async def test_the_json_answer_of_a_queued_run(tmp_path: Path) -> None:
    """/execute returns after the run's turn, and reports if the run was cancelled before its turn."""
    gate = Gate()
    async with FakeDedalus() as fake, started(fake, tmp_path) as agent:
        fake.turn(Text("one"), WaitFor(gate), Finish("stop"), Done())
        fake.turn(*answer("three"))
        async with reading(agent, session_id="chat") as first:
            await first.until(b'"one"')
            asking = [asyncio.create_task(agent.post(EXECUTE, QUEUED | {"input": q})) for q in ("Two?", "Three?")]
            await when(lambda: sum(task.is_queued for task in agent.app.state.live.tasks) == 2)
            second = agent.app.state.live.of_session(SessionKey(ANONYMOUS, "chat"))[1].run_id
            await agent.client.post(f"{RUNS}/{second}/cancel")
            gate.open()
            answers = [(await one).json() for one in asking]
    assert {one["status"]: one["output"] for one in answers} == {"cancelled": "", "succeeded": "three"}


# After a restart


async def restarted_behind_a_wait(fake: FakeDedalus, directory: Path, *questions: str) -> list[str]:
    """Start a suspended run and others queued behind it, then end their process. Returns the runs' ids."""
    fake.turn(*DELETE)
    async with started(fake, directory) as agent:
        first: str = (await agent.post(RUNS, ASK | {"session_id": "chat"})).json()["run_id"]
        await waits(agent, first)
        return [first, *await enqueue(agent, *questions)]


async def test_a_queued_run_is_cancelled_and_deleted_after_a_restart(tmp_path: Path) -> None:
    """A restored queued run can be cancelled without asking the model, and then deleted without a trace."""
    async with FakeDedalus() as fake:
        first, second, third = await restarted_behind_a_wait(fake, tmp_path, "Two?", "Three?")
        async with started(fake, tmp_path) as agent:
            for path in (f"{RUNS}/{third}", f"{SESSIONS}/chat"):
                assert refusal(await agent.client.delete(path)) == (409, "run_active")
            await agent.client.post(f"{RUNS}/{third}/cancel")
            assert names(await whole(agent, third)) == ["run_started", "complete"]
            assert (await agent.client.delete(f"{RUNS}/{third}")).status_code == 204
        fake.turn(*answer("Done."))
        fake.turn(*answer("two"))
        async with started(fake, tmp_path) as agent:
            assert await statuses(agent, [first, second]) == ["waiting", "queued"]
            await decide(agent, first)
            assert text(await whole(agent, second)) == "two"
            assert [message["content"] for message in await messages(agent)][-2:] == ["Two?", "two"]
            assert (await agent.client.get(f"{RUNS}/{third}")).status_code == 404
            assert await stored(agent) == 0


async def test_new_turns_queue_behind_those_of_a_former_process(tmp_path: Path) -> None:
    """New runs queue behind restored ones in the order of their requests, and `interrupt` ends all of them."""
    async with FakeDedalus() as fake:
        run_ids = await restarted_behind_a_wait(fake, tmp_path, "Two?")
        async with started(fake, tmp_path) as agent:
            run_ids += await enqueue(agent, "Three?")
        async with started(fake, tmp_path) as agent:
            assert await statuses(agent, run_ids) == ["waiting", "queued", "queued"]
            assert [task.run_id for task in agent.app.state.live.of_session(SessionKey(ANONYMOUS, "chat"))] == run_ids
            fake.turn(*answer("Now."))
            body = {"input": "Four?", "session_id": "chat", "multitask": "interrupt"}
            assert text(await agent.stream(body)) == "Now."
            assert await statuses(agent, run_ids) == ["cancelled"] * 3


async def test_a_server_takes_no_more_queued_runs_than_may_run(tmp_path: Path) -> None:
    """Restored queued runs count towards the limit."""
    async with FakeDedalus() as fake:
        await restarted_behind_a_wait(fake, tmp_path, "Two?", "Three?")
        async with started(fake, tmp_path, max_concurrent_runs=2) as agent:
            refused = await agent.post(RUNS, QUEUED | {"input": "Four?"})
    assert refusal(refused) == (503, "server_full")


async def test_what_can_no_longer_be_had_fails_the_queued_run(tmp_path: Path) -> None:
    """A queued run fails with its error if the service was restarted without a tool that the request names."""
    async with FakeDedalus() as fake:
        fake.turn(*DELETE)
        async with started(fake, tmp_path) as agent:
            first = (await agent.post(RUNS, ASK | {"session_id": "chat"})).json()["run_id"]
            await waits(agent, first)
            queued = (await agent.post(RUNS, QUEUED | {"input": "?", "tools": ["delete"]})).json()["run_id"]
        async with service(fake.url, data_dir=tmp_path) as agent:
            await agent.client.post(f"{RUNS}/{first}/cancel")
            events = await whole(agent, queued)
    assert only(events, "error")[0]["code"] == "tool_unavailable"


async def test_with_the_log_in_memory_queued_runs_end_with_their_process(tmp_path: Path) -> None:
    """With `memory://` queued and suspended runs can't be restored, because their events are lost."""
    async with FakeDedalus() as fake:
        fake.turn(*DELETE)
        async with started(fake, tmp_path, event_log_url="memory://") as agent:
            first = (await agent.post(RUNS, ASK | {"session_id": "chat"})).json()["run_id"]
            await waits(agent, first)
            [second] = await enqueue(agent, "Two?")
        async with started(fake, tmp_path, event_log_url="memory://") as agent:
            runs = [await get(agent, run_id) for run_id in (first, second)]
    assert [(run["status"], run["error"]["code"]) for run in runs] == [("failed", "interrupted")] * 2


# Readers


async def test_a_run_behind_one_that_waits_is_left_alone(tmp_path: Path) -> None:
    """A run queued behind a suspended one survives the loss of its reader, also over a restart.

    Its grace period begins with its turn.
    """
    async with FakeDedalus() as fake:
        fake.turn(*DELETE)
        async with started(fake, tmp_path, disconnect_grace_s=0.2) as agent:
            first = (await agent.post(RUNS, ASK | {"session_id": "chat"})).json()["run_id"]
            await waits(agent, first)
            async with reading(agent, **QUEUED) as second:
                await second.until(b"run_started")
            await when(lambda: task_of(agent, second.run_id).readers.count == 0)
            await _grace_is_over(agent, second.run_id)
            assert await statuses(agent, [second.run_id]) == ["queued"]
        fake.turn(*answer("Done."))
        fake.turn(Text("two"), Stall())
        async with started(fake, tmp_path, disconnect_grace_s=0.2) as agent:
            await _grace_is_over(agent, second.run_id)
            assert await statuses(agent, [second.run_id]) == ["queued"]
            await decide(agent, first)
            await when(lambda: agent.app.state.live.get(second.run_id) is None)
            assert await statuses(agent, [second.run_id]) == ["cancelled"]


async def test_a_run_behind_one_that_works_has_its_grace_at_once(tmp_path: Path) -> None:
    """A run queued behind a running one is cancelled after the grace period without a reader.

    A reader that returns keeps it.
    """
    async with FakeDedalus() as fake, started(fake, tmp_path, disconnect_grace_s=0.2) as agent:
        fake.turn(Text("one"), Stall())
        async with reading(agent, session_id="chat") as first:
            await first.until(b'"one"')
            async with reading(agent, **QUEUED) as left, reading(agent, **QUEUED) as kept:
                await left.until(b"run_started")
                await kept.until(b"run_started")
            async with attached(agent, kept.run_id):
                await when(lambda: agent.app.state.live.get(left.run_id) is None)
                assert await statuses(agent, [left.run_id, kept.run_id]) == ["cancelled", "queued"]


async def _grace_is_over(agent: Service, run_id: str) -> None:
    """Wait until no grace period is running."""
    readers = task_of(agent, run_id).readers
    await when(lambda: readers._grace is None)
