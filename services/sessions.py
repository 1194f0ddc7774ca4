"""Sessions: conversations that the service keeps, in which one run follows another."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from weakref import WeakValueDictionary

from uuid_utils import uuid7

from database.engine import Connection, Database
from database.messages import add_messages, branch, tree
from database.runs import children, delete_run, get_run, save_runs
from database.sessions import (
    create_session,
    delete_session,
    get_session,
    list_sessions,
    set_head,
    touch_session,
    update_session,
)
from errors import (
    InvalidCursor,
    InvalidParent,
    RunActive,
    RunContinued,
    RunExpired,
    RunNotFound,
    SessionBusy,
    SessionExists,
    SessionNotFound,
)
from event_logs.base import EventLog
from models import (
    AgentRequest,
    MessageList,
    Run,
    Session,
    SessionCreate,
    SessionList,
    SessionMessage,
    SessionUpdate,
    now,
)
from services.history import question, title_of
from services.live_runs import LiveRuns
from services.run_records import RunRecords
from services.run_task import RunTask


class Turn(NamedTuple):
    """A run's place in its session: the run as it is recorded, and those that it waits for."""

    run: Run
    behind: tuple[RunTask, ...]


class Sessions:
    """The sessions. Those that it doesn't know are made on first use."""

    def __init__(self, database: Database, log: EventLog, records: RunRecords, live: LiveRuns) -> None:
        self._database = database
        self._log = log
        self._records = records
        self._live = live
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # A run's turn

    @asynccontextmanager
    async def turn(self, request: AgentRequest, run: Run) -> AsyncGenerator[Turn, None]:
        """Holds the session while a run of it is begun inside: the run and its question are recorded before.

        Raise `SessionBusy`, `InvalidParent`, or `StoreUnavailable`. If the run can't begin, nothing of it stays.
        """
        session_id = run.session_id
        assert session_id is not None
        async with self._lock(session_id):
            async with self._database.reading() as connection:
                session = await get_session(connection, session_id)
                parent = await _parent(connection, request, session)
            run = run.model_copy(update={"parent_run_id": parent})
            behind = self._make_way(request, session_id)
            await self._record(request, run, session)
            try:
                yield Turn(run, behind)
            except BaseException:
                await self._take_back(run, session)
                raise

    async def history(self, run: Run) -> list[SessionMessage]:
        """What was said before a run, on its branch. Raise `StoreUnavailable`."""
        if run.parent_run_id is None:
            return []
        await self._records.flush()
        async with self._database.reading() as connection:
            return await branch(connection, run.parent_run_id)

    def _make_way(self, request: AgentRequest, session_id: str) -> tuple[RunTask, ...]:
        """Decide what becomes of the runs under way; the new one waits for those that are given back."""
        going = self._live.of_session(session_id)
        match request.multitask:
            case "enqueue":
                return going
            case "interrupt":
                stopped = going
            case "reject":
                stopped = ()
            case None:
                stopped = tuple(task for task in going if task.is_abandoned)
        if in_the_way := [task for task in going if task not in stopped]:
            raise SessionBusy(run_id=in_the_way[-1].run_id)
        for task in stopped:
            task.cancel()
        return stopped

    async def _record(self, request: AgentRequest, run: Run, session: Session | None) -> None:
        """Record the session, the run in its place and the question, in one go."""
        assert run.session_id is not None
        async with self._database.writing() as connection:
            if session is None:
                await create_session(connection, Session(session_id=run.session_id, created_at=now(), updated_at=now()))
            await save_runs(connection, [run])
            await add_messages(connection, run.session_id, [question(run.run_id, request.input)])
            await touch_session(
                connection, run.session_id, head_run_id=run.run_id, now=now(), title=title_of(request.input)
            )

    async def _take_back(self, run: Run, before: Session | None) -> None:
        assert run.session_id is not None
        async with self._database.writing() as connection:
            await delete_run(connection, run.run_id)
            if before is None:
                await delete_session(connection, run.session_id)
            else:
                await set_head(connection, run.session_id, before.head_run_id)

    def _lock(self, session_id: str) -> asyncio.Lock:
        return self._locks.setdefault(session_id, asyncio.Lock())

    # What callers ask

    async def create(self, asked: SessionCreate) -> Session:
        """A new session. Raise `SessionExists` or `StoreUnavailable`."""
        session = Session(
            session_id=asked.session_id or f"session_{uuid7().hex}",
            title=asked.title,
            metadata=asked.metadata,
            created_at=now(),
            updated_at=now(),
        )
        async with self._database.writing() as connection:
            if not await create_session(connection, session):
                raise SessionExists
        return session

    async def get(self, session_id: str) -> Session:
        """A session. Raise `SessionNotFound` or `StoreUnavailable`."""
        async with self._database.reading() as connection:
            if (session := await get_session(connection, session_id)) is None:
                raise SessionNotFound
        return session

    async def page(self, cursor: str | None, limit: int) -> SessionList:
        """A page of sessions, the last used first. Raise `InvalidCursor` or `StoreUnavailable`."""
        before = None
        if cursor is not None:
            updated_at, _, session_id = cursor.partition("_")
            if not session_id:
                raise InvalidCursor("The cursor is not a next_cursor of this list.")
            before = (updated_at, session_id)
        async with self._database.reading() as connection:
            sessions = await list_sessions(connection, before=before, limit=limit + 1)
        last = sessions[limit - 1] if len(sessions) > limit else None
        return SessionList(
            sessions=sessions[:limit], next_cursor=None if last is None else f"{last.updated_at}_{last.session_id}"
        )

    async def update(self, session_id: str, asked: SessionUpdate) -> Session:
        """Change what the request names. Raise `SessionNotFound` or `StoreUnavailable`."""
        changes = {name: getattr(asked, name) for name in asked.model_fields_set}
        async with self._database.writing() as connection:
            if await get_session(connection, session_id) is None:
                raise SessionNotFound
            await update_session(connection, session_id, changes | {"updated_at": now()})
        return await self.get(session_id)

    async def delete(self, session_id: str) -> None:
        """Let go of a session with its runs, their events and messages.

        Raise `SessionNotFound`, `RunActive`, `LogUnavailable` or `StoreUnavailable`.
        """
        async with self._lock(session_id):
            if going := self._live.of_session(session_id):
                raise RunActive("A run of this session is still going: cancel it first.", run_id=going[0].run_id)
            await self._records.flush()
            async with self._database.writing() as connection:
                if await get_session(connection, session_id) is None:
                    raise SessionNotFound
                for run_id in await delete_session(connection, session_id):
                    with suppress(RunNotFound, RunExpired):
                        await self._log.delete(run_id)

    async def messages(
        self, session_id: str, run_id: str | None, whole_tree: bool, cursor: str | None, limit: int
    ) -> MessageList:
        """A page of the conversation: the branch that ends with a run, by default the head, or the whole tree.

        Raise `SessionNotFound`, `RunNotFound`, `InvalidCursor` or `StoreUnavailable`.
        """
        session = await self.get(session_id)
        await self._records.flush()
        leaf = run_id or session.head_run_id
        async with self._database.reading() as connection:
            if run_id is not None:
                run = await get_run(connection, run_id)
                if run is None or run.session_id != session_id:
                    raise RunNotFound
            if whole_tree:
                messages = await tree(connection, session_id)
            else:
                messages = [] if leaf is None else await branch(connection, leaf)
        start = 0
        if cursor is not None:
            start = next((n for n, message in enumerate(messages, start=1) if message.message_id == cursor), 0)
            if start == 0:
                raise InvalidCursor("The cursor is not a next_cursor of this list.")
        page = messages[start : start + limit]
        more = len(messages) > start + limit
        return MessageList(messages=page, next_cursor=page[-1].message_id if more else None)

    async def delete_run(self, run: Run) -> None:
        """Let go of the last run of a branch, with its events and messages.

        Raise `RunContinued`, `LogUnavailable` or `StoreUnavailable`.
        """
        assert run.session_id is not None
        async with self._lock(run.session_id), self._database.writing() as connection:
            if await children(connection, run.run_id):
                raise RunContinued
            session = await get_session(connection, run.session_id)
            if session is not None and session.head_run_id == run.run_id:
                await set_head(connection, run.session_id, run.parent_run_id)
            await delete_run(connection, run.run_id)
            await self._log.delete(run.run_id)


async def _parent(connection: Connection, request: AgentRequest, session: Session | None) -> str | None:
    """The run after which a new one begins. Raise `InvalidParent`."""
    if request.parent_run_id is None:
        return None if session is None else session.head_run_id
    parent = await get_run(connection, request.parent_run_id)
    if parent is None or parent.session_id != request.session_id:
        raise InvalidParent
    return parent.run_id if request.parent_state == "after" else parent.parent_run_id
