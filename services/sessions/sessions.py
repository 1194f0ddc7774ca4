"""Creates, lists, changes and deletes sessions: conversations that the service keeps, in which run follows run."""

import asyncio
from contextlib import suppress

from uuid_utils import uuid7

from database.callers import delete_owner
from database.deletions import mark_deleted, mark_session_deleted
from database.engine import Connection, Database
from database.message_pages import Outline, UnknownMessage, branch_outline, read_page, tree_outline
from database.runs import children, delete_run, get_run
from database.sessions import (
    Unused,
    create_session,
    delete_session,
    describe_session,
    get_session,
    set_head,
    unused_sessions,
    update_session,
)
from errors import (
    InvalidCursor,
    RunActive,
    RunContinued,
    RunNotFound,
    SessionExists,
    SessionNotFound,
)
from event_logs.base import EventLog
from run_models import Run, SessionKey, now
from services.runs.deletions import delete_events
from services.runs.live import LiveRuns
from services.runs.write_behind import WriteBehind
from services.sessions.listing import all_sessions, found_sessions, place_of, words_of
from services.sessions.turns import SessionTurns
from session_models import MessageList, Session, SessionCreate, SessionList, SessionUpdate, StoredSession
from usage_models import NO_USAGE

END_S = 10.0  # how long the runs of an owner may take to end when all that it has is deleted
EXPIRED_AT_ONCE = 200  # sessions that are looked up in one query


class Sessions:
    """The operations on sessions."""

    def __init__(
        self, database: Database, log: EventLog, write_behind: WriteBehind, live: LiveRuns, turns: SessionTurns
    ) -> None:
        self._database = database
        self._log = log
        self._write_behind = write_behind
        self._live = live
        self._turns = turns

    async def create(self, owner: str, request: SessionCreate) -> Session:
        """Create an owner's session and return it. Raise `SessionExists` or `StoreUnavailable`."""
        session = StoredSession(
            session_id=request.session_id or f"session_{uuid7().hex}",
            owner=owner,
            title=request.title,
            metadata=request.metadata,
            created_at=now(),
            updated_at=now(),
        )
        async with self._database.writing() as connection:
            if not await create_session(connection, session):
                raise SessionExists
        return Session(**session.model_dump(), owner=owner, usage=NO_USAGE)

    async def get(self, key: SessionKey) -> Session:
        """Return a session. Raise `SessionNotFound` or `StoreUnavailable`."""
        await self._write_behind.flush()
        async with self._database.reading() as connection:
            if (session := await describe_session(connection, key)) is None:
                raise SessionNotFound
        return session

    async def page(self, owner: str, cursor: str | None, limit: int, search: str = "") -> SessionList:
        """Return a page of an owner's sessions, the last used first: of all, or of those that the search finds.

        Raise `InvalidCursor` or `StoreUnavailable`.
        """
        before = place_of(cursor)
        await self._write_behind.flush()
        async with self._database.reading() as connection:
            if words := words_of(search):
                return await found_sessions(connection, owner, words, before, limit)
            return await all_sessions(connection, owner, before, limit)

    async def update(self, key: SessionKey, request: SessionUpdate) -> Session:
        """Change the fields that the request has. Raise `SessionNotFound` or `StoreUnavailable`."""
        changes = {name: getattr(request, name) for name in request.model_fields_set}
        async with self._database.writing() as connection:
            if await get_session(connection, key) is None:
                raise SessionNotFound
            await update_session(connection, key, changes | {"updated_at": now()})
        return await self.get(key)

    async def delete(self, key: SessionKey) -> None:
        """Delete a session with its runs, their events and messages.

        Raise `SessionNotFound`, `RunActive` or `StoreUnavailable`.
        """
        await self._delete(key)
        await delete_events(self._database, self._log)

    async def expire(self, unused_since: str) -> int:
        """Delete the records of sessions that were last used before this time and have no run under way.

        Mark the events of their runs for deletion, and return the number of sessions. Raise `StoreUnavailable`.
        """
        expired = 0
        last: Unused | None = None
        while True:
            async with self._database.reading() as connection:
                page = await unused_sessions(connection, unused_since, after=last, limit=EXPIRED_AT_ONCE)
            if not page:
                break
            last = page[-1]
            for unused in page:
                with suppress(RunActive, SessionNotFound):
                    await self._delete(SessionKey(unused.owner, unused.session_id), unused_since)
                    expired += 1
        return expired

    async def _delete(self, key: SessionKey, unused_since: str | None = None) -> None:
        """Delete a session's records, and mark its runs' events for deletion.

        A session that has been used since `unused_since` counts as not found.
        """
        async with self._turns.lock(key):
            if under_way := self._live.of_session(key):
                raise RunActive(
                    "A run of this session is still under way: cancel it first.", run_id=under_way[0].run_id
                )
            await self._write_behind.flush()
            async with self._database.writing() as connection:
                session = await get_session(connection, key)
                if session is None or (unused_since is not None and session.updated_at >= unused_since):
                    raise SessionNotFound
                await mark_session_deleted(connection, key)
                await delete_session(connection, key)

    async def delete_all(self, owner: str) -> None:
        """Cancel an owner's runs, and delete all its runs and sessions with their events and messages.

        Raise `RunActive` if a run doesn't end within some seconds, or `StoreUnavailable`.
        """
        tasks = [task for task in self._live.tasks if task.owner == owner]
        for task in tasks:
            task.cancel()
        if tasks:
            _, pending = await asyncio.wait([task.ended for task in tasks], timeout=END_S)
            if pending:
                raise RunActive
        await self._write_behind.flush()  # else a row that is still queued would bring a run back
        async with self._database.writing() as connection:
            await delete_owner(connection, owner)
        await delete_events(self._database, self._log)

    async def messages(
        self, key: SessionKey, run_id: str | None, whole_tree: bool, cursor: str | None, limit: int
    ) -> MessageList:
        """Return a page of messages: of the branch that ends with a run, by default the latest, or of the whole tree.

        Raise `SessionNotFound`, `RunNotFound`, `InvalidCursor` or `StoreUnavailable`.
        """
        session = await self.get(key)
        leaf = run_id or session.head_run_id
        async with self._database.reading() as connection:
            if run_id is not None:
                run = await get_run(connection, run_id)
                if run is None or run.session_key != key:
                    raise RunNotFound
            outline = await _outline(connection, key, leaf, whole_tree=whole_tree)
            try:
                page = outline.page(cursor, limit)
            except UnknownMessage:
                raise InvalidCursor("The cursor is not a next_cursor of this list.") from None
            messages = await read_page(connection, page) if page else []
        more = bool(messages) and not outline.ends_with(messages[-1].message_id)
        return MessageList(messages=messages, next_cursor=messages[-1].message_id if more else None)

    async def delete_run(self, run: Run) -> None:
        """Delete a run that has ended, with its events and messages. In a session, it must be the last of a branch.

        Raise `RunContinued` or `StoreUnavailable`.
        """
        await self._write_behind.flush()  # else a row that is still queued would bring the run back
        if run.session_key is None:
            async with self._database.writing() as connection:
                await _delete_run(connection, run)
        else:
            async with self._turns.lock(run.session_key), self._database.writing() as connection:
                await _leave_session(connection, run, run.session_key)
                await _delete_run(connection, run)
        await delete_events(self._database, self._log)


async def _leave_session(connection: Connection, run: Run, key: SessionKey) -> None:
    """Take a run out of its session's tree. Raise `RunContinued` if another run follows it."""
    if await children(connection, run.run_id):
        raise RunContinued
    session = await get_session(connection, key)
    if session is not None and session.head_run_id == run.run_id:
        await set_head(connection, key, run.parent_run_id)


async def _delete_run(connection: Connection, run: Run) -> None:
    await delete_run(connection, run.run_id)
    await mark_deleted(connection, [run.run_id])


async def _outline(connection: Connection, key: SessionKey, leaf: str | None, *, whole_tree: bool) -> Outline:
    """Return the places of a session's messages, or of those on the branch that ends with the run `leaf`."""
    if whole_tree:
        return await tree_outline(connection, key)
    return Outline() if leaf is None else await branch_outline(connection, leaf)
