"""Tests that a deletion, by a caller or by retention, is complete wherever a crash interrupts it."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from live_tasks import when
from local_tools import named
from service import Service, service
from session_calls import SESSIONS, ask, get, messages
from waiting_runs import ASK, DELETE, RUNS, deletes, waits
from wire import answer

from database.deletions import marked_runs
from database.engine import Database
from database.sessions import update_session
from run_models import ANONYMOUS, SessionKey
from services.runs.deletions import delete_events
from services.sessions.retention import Retention

pytestmark = pytest.mark.anyio

LONG_AGO = "2026-01-01T00:00:00.000Z"
QUESTIONS = ["One?", "Two?", "Three?"]


def files(directory: Path) -> set[str]:
    """Return the runs whose events are on the disk."""
    return {file.stem for file in directory.rglob("run_*.sse")}


class Crashes:
    """Copies the data directory before and after each write of a deletion, as a crash would leave it."""

    def __init__(self, agent: Service, live: Path, copies: Path) -> None:
        self._live = live
        self._copies = copies
        self.taken: list[Path] = []
        database, log = agent.app.state.database, agent.app.state.log
        database.writing = self._around(database.writing)
        delete = log.delete

        async def deleting(run_id: str) -> None:
            self._take()
            await delete(run_id)
            self._take()

        log.delete = deleting

    def _around(self, writing: Callable[[], Any]) -> Callable[[], Any]:
        @asynccontextmanager
        async def wrapped() -> AsyncIterator[Any]:
            self._take()
            async with writing() as connection:
                yield connection
            self._take()

        return wrapped

    def _take(self) -> None:
        copy = self._copies / str(len(self.taken))
        shutil.copytree(self._live, copy)
        self.taken.append(copy)


async def conversation(agent: Service, fake: FakeDedalus, session: str = "chat") -> list[str]:
    """Create three runs of a session that have ended and are recorded. Returns their ids."""
    fake.always(*answer("Yes."))
    run_ids = [(await ask(agent, question, session))[0]["run_id"] for question in QUESTIONS]
    await get(agent, f"{SESSIONS}/{session}")
    return run_ids


async def is_there(agent: Service, directory: Path, run_id: str) -> bool:
    """Return whether a run exists. Its row, its events and its file must agree."""
    row, events = [await agent.client.get(f"{RUNS}/{run_id}{more}") for more in ("", "/events")]
    listed = run_id in {run["run_id"] for run in (await get(agent, RUNS))["runs"]}
    found = {row.status_code == 200, events.status_code == 200, listed, run_id in files(directory)}
    assert len(found) == 1, "half of it is there"
    return found.pop()


@pytest.mark.parametrize("what", ["session", "run of a session", "run"])
async def test_a_deletion_that_a_crash_cuts_off_is_whole_or_has_not_been(what: str, tmp_path: Path) -> None:
    """After a crash at each point and a restart, no run is half deleted, and the model gets the session's remaining
    history.
    """
    live = tmp_path / "live"
    async with FakeDedalus() as fake:
        async with service(fake.url, data_dir=live) as agent:
            run_ids = await conversation(agent, fake)
            if what == "run":
                run_ids = [(await agent.stream({"input": "Alone?"}))[0]["run_id"]]
                await get(agent, RUNS)
            path = f"{SESSIONS}/chat" if what == "session" else f"{RUNS}/{run_ids[-1]}"
            crashes = Crashes(agent, live, tmp_path / "copies")
            assert (await agent.client.delete(path)).status_code == 204
        seen = [await _after_a_crash(fake, copy, what, run_ids) for copy in crashes.taken]
    assert seen == sorted(seen, reverse=True), "what was deleted has come back"
    assert set(seen) == {True, False}


async def _after_a_crash(fake: FakeDedalus, directory: Path, what: str, run_ids: list[str]) -> bool:
    """Restart the service and return whether the deleted data is still there."""
    async with service(fake.url, data_dir=directory) as agent:
        there = [await is_there(agent, directory, run_id) for run_id in run_ids]
        deleted = there if what == "session" else there[-1:]
        assert len(set(deleted)) == 1
        assert await _marked(agent) == []
        await ask(agent, "Next?")
        stored = [message["content"] for message in await messages(agent) if message["role"] == "user"]
        sent = [message["content"] for message in fake.chats[-1].body["messages"] if message["role"] == "user"]
    gone = {"session": QUESTIONS, "run of a session": QUESTIONS[-1:], "run": []}[what]
    assert stored == sent == [*(q for q in QUESTIONS if deleted[0] or q not in gone), "Next?"]
    return deleted[0]


async def _marked(agent: Service) -> list[str]:
    database: Database = agent.app.state.database
    async with database.reading() as connection:
        return await marked_runs(connection)


def out_of_reach(directory: Path, run_id: str) -> Callable[[], None]:
    """Replace a run's file by a directory, which can be neither read nor unlinked.

    Returns the function that undoes it.
    """
    [file] = directory.rglob(f"{run_id}.sse")
    stored = file.rename(directory / "kept")
    file.mkdir()

    def undo() -> None:
        file.rmdir()
        stored.rename(file)

    return undo


async def test_events_that_can_t_be_deleted_now_are_deleted_later(tmp_path: Path) -> None:
    """The run is not found, also after a restart, and its events are deleted once the disk allows it."""
    async with FakeDedalus() as fake:
        async with service(fake.url, data_dir=tmp_path) as agent:
            first, second, third = await conversation(agent, fake)
            undo = out_of_reach(tmp_path, second)
            assert (await agent.client.delete(f"{SESSIONS}/chat")).status_code == 204
            assert files(tmp_path) == {second}
            assert await _marked(agent) == [second]
        async with service(fake.url, data_dir=tmp_path) as agent:
            undo()
            for path in (f"{SESSIONS}/chat", *(f"{RUNS}/{run_id}" for run_id in (first, second, third))):
                assert (await agent.client.get(path)).status_code == 404
            await delete_events(agent.app.state.database, agent.app.state.log)
            assert await _marked(agent) == []
            assert files(tmp_path) == set()


# Retention of sessions


@asynccontextmanager
async def retention(agent: Service, days: float | None) -> AsyncIterator[Retention]:
    """A session retention beside the service's own, which is off."""
    parts = agent.app.state
    unused = None if days is None else timedelta(days=days)
    made = Retention(parts.database, parts.log, parts.sessions, timedelta(days=7), unused)
    async with aclosing(made):
        yield made


async def unused(agent: Service, *sessions: str) -> None:
    """Create sessions whose last use was long ago."""
    async with agent.app.state.database.writing() as connection:
        for session in sessions:
            await update_session(connection, SessionKey(ANONYMOUS, session), {"updated_at": LONG_AGO})


async def left(agent: Service) -> set[str]:
    return {session["session_id"] for session in (await get(agent, SESSIONS))["sessions"]}


async def test_sessions_that_are_not_used_are_deleted(tmp_path: Path) -> None:
    """They are deleted with their runs, messages and events. Used sessions stay, and by default all sessions do."""
    async with FakeDedalus() as fake, service(fake.url, data_dir=tmp_path) as agent:
        old = await conversation(agent, fake, "old")
        new = await conversation(agent, fake, "new")
        await agent.client.post(SESSIONS, json={"session_id": "empty"})
        await unused(agent, "old", "empty")
        async with retention(agent, None) as off:
            await off.sweep()
        assert await left(agent) == {"old", "new", "empty"}
        async with retention(agent, 1) as on:
            await on.sweep()
        assert await left(agent) == {"new"}
        assert [await is_there(agent, tmp_path, run_id) for run_id in (*old, *new)] == [False] * 3 + [True] * 3


async def test_a_session_with_a_run_under_way_is_kept(tmp_path: Path) -> None:
    """Retention keeps a session with a suspended or a queued run, however long ago its last use was."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), data_dir=tmp_path) as agent:
        fake.turn(*DELETE)
        first = (await agent.post(RUNS, ASK | {"session_id": "chat"})).json()["run_id"]
        await waits(agent, first)
        second = (await agent.post(RUNS, {"input": "?", "session_id": "chat", "multitask": "enqueue"})).json()["run_id"]
        await unused(agent, "chat")
        async with retention(agent, 1) as on:
            await on.sweep()
            assert await left(agent) == {"chat"}
            for run_id in (second, first):
                await agent.client.post(f"{RUNS}/{run_id}/cancel")
                await agent.events(run_id)
            await on.sweep()
        assert await left(agent) == set()


async def test_many_unused_sessions_are_deleted_at_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`SESSION_RETENTION_DAYS` deletes page by page, and skips sessions that are used again meanwhile."""
    monkeypatch.setattr("services.sessions.sessions.EXPIRED_AT_ONCE", 2)
    names = [f"s{number}" for number in range(7)]
    async with FakeDedalus() as fake:
        async with service(fake.url, data_dir=tmp_path) as agent:
            for name in names:
                await agent.client.post(SESSIONS, json={"session_id": name})
            await unused(agent, *names[:-1])
        async with service(fake.url, data_dir=tmp_path, session_retention_days=30) as agent:
            while await left(agent) != {names[-1]}:
                pass


async def test_a_session_that_is_used_again_is_not_deleted(tmp_path: Path) -> None:
    """A session used after retention has selected it for deletion is kept."""
    async with FakeDedalus() as fake, service(fake.url, data_dir=tmp_path) as agent:
        await conversation(agent, fake)
        await unused(agent, "chat")
        sessions = agent.app.state.sessions
        lock = sessions._turns.lock(SessionKey(ANONYMOUS, "chat"))
        async with lock, retention(agent, 1):
            await when(lambda: bool(lock._waiters))  # retention has selected the session
            await agent.client.patch(f"{SESSIONS}/chat", json={"title": "Still here"})
        assert await left(agent) == {"chat"}
