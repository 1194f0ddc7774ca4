"""Gives runs their place in a session, decides about runs under way, and reads the turns before a run."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple
from weakref import WeakValueDictionary

from database.engine import Connection, Database
from database.messages import add_messages, count_questions, latest_turns
from database.provider_states import states_of
from database.runs import delete_run, get_run, save_runs
from database.sessions import create_session, delete_session, get_session, set_head, touch_session
from database.suspended_runs import put_queued_run
from errors import InvalidParent, SessionBusy
from models import AgentRequest
from part_models import Content, texts_in
from run_models import Run, SessionKey, now
from services.runs.admission import Admission
from services.runs.live import LiveRuns
from services.runs.projection import question
from services.runs.records import RunRecords
from services.runs.task import RunTask
from services.runs.write_behind import WriteBehind
from session_models import ProviderState, StoredMessage, StoredSession

TITLE_LENGTH = 80
TITLE_SEARCHED = 10_000  # characters of each text that are searched for the title


class Turn(NamedTuple):
    """A run's place in its session: the run as it is recorded, and the runs that it waits for."""

    run: Run
    behind: tuple[RunTask, ...]


class StoredTurn(NamedTuple):
    """A question with its answer, and the states of the answer that the model's provider wants back."""

    messages: Sequence[StoredMessage]
    states: Sequence[ProviderState]


class SessionTurns:
    """Gives runs their turns. A session that doesn't exist is created."""

    def __init__(
        self,
        database: Database,
        records: RunRecords,
        write_behind: WriteBehind,
        live: LiveRuns,
        admission: Admission,
    ) -> None:
        self._database = database
        self._admission = admission
        self._records = records
        self._write_behind = write_behind
        self._live = live
        # A lock is collected when nobody holds it or waits for it, so the dictionary doesn't grow with the sessions.
        self._locks: WeakValueDictionary[SessionKey, asyncio.Lock] = WeakValueDictionary()

    def lock(self, key: SessionKey) -> asyncio.Lock:
        """Return the session's lock. The runs of a session change only while it is held."""
        return self._locks.setdefault(key, asyncio.Lock())

    @asynccontextmanager
    async def turn(self, request: AgentRequest, run: Run) -> AsyncGenerator[Turn, None]:
        """Record a run, which the caller begins inside. If that raises, delete its records.

        A run of a session gets its place there and is recorded with its question. The session stays locked until the
        run has begun. Raise `SessionBusy`, `InvalidParent`, or a `CapacityError`.
        """
        key = run.session_key
        if key is None and run.metadata is None:
            yield Turn(run, ())  # its log holds all that its row does: a transaction here costs as much as the run
            return
        if key is None:
            async with self._records.recorded(run):
                yield Turn(run, ())
            return
        async with self.lock(key), self._placed(request, run, key) as turn:
            yield turn

    @asynccontextmanager
    async def _placed(self, request: AgentRequest, run: Run, key: SessionKey) -> AsyncGenerator[Turn, None]:
        async with self._database.reading() as connection:
            session = await get_session(connection, key)
            parent = await _parent(connection, request, key, session)
        run = run.model_copy(update={"parent_run_id": parent})
        behind = self._make_way(request, key)
        await self._record(request, run, key, is_new=session is None, is_queued=bool(behind))
        try:
            yield Turn(run, behind)
        except BaseException:  # a cancellation, too
            await self._take_back(run, key, session)
            raise

    async def turns_before(self, run: Run, family: str) -> AsyncGenerator[StoredTurn, None]:
        """Yield the turns before a run, on its branch, from the latest back, with the states of a model's family.

        They are read a few at a time, as the caller asks for them. Raise `StoreUnavailable`.
        """
        await self._write_behind.flush()  # the answer of the run before this one may still be queued
        before = run.parent_run_id
        while before is not None:
            async with self._database.reading() as connection:
                read = await latest_turns(connection, before)
                states = await states_of(connection, read.turns.keys(), family)
            for run_id, messages in read.turns.items():
                yield StoredTurn(messages, [state for state in states if state.run_id == run_id])
                await asyncio.sleep(0)  # the caller may convert hundreds of turns without a wait of its own
            before = read.before

    async def count(self, run: Run) -> int:
        """Return the number of turns before a run, on its branch. Raise `StoreUnavailable`."""
        if run.parent_run_id is None:
            return 0
        async with self._database.reading() as connection:
            return await count_questions(connection, run.parent_run_id)

    def _make_way(self, request: AgentRequest, key: SessionKey) -> tuple[RunTask, ...]:
        """Decide about the session's runs under way, and return those that the new run waits for.

        Raise `SessionBusy` or `ServerFull`.
        """
        under_way = self._live.of_session(key)
        match request.multitask:
            case "enqueue":
                if under_way:
                    self._admission.check_queue()
                return under_way
            case "interrupt":
                to_cancel = under_way
            case "reject":
                to_cancel = ()
            case None:  # cancel runs whose readers have left, as after a reload of the page
                to_cancel = tuple(task for task in under_way if task.readers.have_left)
        in_the_way = [task for task in under_way if task not in to_cancel and not task.is_ending]
        if in_the_way:
            raise SessionBusy(run_id=in_the_way[-1].run_id)
        for task in to_cancel:
            task.cancel()
        return under_way  # cancelled runs end soon, and the new one begins after that

    async def _record(self, request: AgentRequest, run: Run, key: SessionKey, *, is_new: bool, is_queued: bool) -> None:
        """Record a new session, the run and its question in one transaction, and the request of a queued run."""
        async with self._database.writing() as connection:
            if is_new:
                await create_session(connection, StoredSession(**key._asdict(), created_at=now(), updated_at=now()))
            await save_runs(connection, [run])
            await add_messages(connection, [question(run.run_id, request.input)])
            if is_queued:
                await put_queued_run(connection, run.run_id, request.model_dump(mode="json"))
            await touch_session(connection, key, head_run_id=run.run_id, now=now(), title=title_of(request.input))

    async def _take_back(self, run: Run, key: SessionKey, before: StoredSession | None) -> None:
        """Delete the records of a run that didn't begin. `before` is its session as it was, if there was one."""
        async with self._database.writing() as connection:
            await delete_run(connection, run.run_id)
            if before is None:
                await delete_session(connection, key)
            else:
                await set_head(connection, key, before.head_run_id)


async def _parent(
    connection: Connection, request: AgentRequest, key: SessionKey, session: StoredSession | None
) -> str | None:
    """Return the run that the new one follows, or None for the first of a tree. Raise `InvalidParent`."""
    if request.parent_run_id is None:
        return None if session is None else session.head_run_id
    parent = await get_run(connection, request.parent_run_id)
    if parent is None or parent.session_key != key:
        raise InvalidParent
    return parent.run_id if request.parent_state == "after" else parent.parent_run_id


def title_of(content: Content) -> str | None:
    """Return a conversation's title: the first line of its first input, cut at a word."""
    texts = [text[:TITLE_SEARCHED] for text in texts_in(content)]
    line = next((line.strip() for text in texts for line in text.splitlines() if line.strip()), "")
    if len(line) > TITLE_LENGTH:
        line = line[:TITLE_LENGTH].rsplit(" ", 1)[0].rstrip() + "…"
    return line or None
