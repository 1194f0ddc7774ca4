"""The database's record of each run: written behind the log, and corrected by it.

The log is the truth. A run's row is written some time after what it tells has happened, many rows at a time, and never
on a token's way. A run is archived in the log only once its row says how it ended, so that after a crash there is no
need to look further than at what is not archived.
"""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from database.deletions import is_deleted
from database.engine import Database
from database.messages import replace_answer
from database.runs import delete_run, get_run, list_runs, save_runs
from database.sessions import create_session, get_session, set_head
from database.suspended_runs import (
    SuspendedRun,
    delete_waiting_runs,
    get_suspended_request,
    get_suspended_run,
    put_suspended_run,
)
from errors import InvalidCursor, LogUnavailable, RunExpired, RunNotFound, RunNotWaiting, StoreUnavailable
from event_logs.base import EventLog, LogPosition
from event_logs.reading import events_in
from models import Run, RunList, RunStatus, now
from services.runs.projection import ANSWERING, Transcript, run_in_log
from session_models import StoredMessage, StoredSession

logger = logging.getLogger(__name__)

LINGER_S = 0.05  # in which what many runs have to record becomes one transaction
RETRY_S = 1.0  # how long a refused transaction waits for the next try
RUN_ID = re.compile(r"run_[0-9a-f]{32}")
OVER = frozenset((RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED))

Snapshot = Callable[[], Run]


class RunRecords:
    """Writes and reads the rows. Make it in a running loop; `aclose` writes what is left."""

    def __init__(self, database: Database, log: EventLog) -> None:
        self._database = database
        self._log = log
        self._unsaved: dict[str, Snapshot] = {}
        self._in_hand: dict[str, Snapshot] = {}
        self._something = asyncio.Event()
        self._at_once = asyncio.Event()
        self._saves = 0
        self._saved = 0
        self._round: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failing = False
        self._writer = asyncio.create_task(self._write(), name="run records")
        self._writer.add_done_callback(self._stopped)

    def save(self, run_id: str, snapshot: Snapshot) -> None:
        """Record soon how a run stands, as `snapshot` tells it by then."""
        self._unsaved[run_id] = snapshot
        self._saves += 1
        self._something.set()

    def save_as(self, run: Run) -> None:
        """Record soon that a run stands so."""
        self.save(run.run_id, lambda: run)

    async def flush(self) -> None:
        """Come back when all that was to be saved by now is recorded. Raise `StoreUnavailable`."""
        wanted = self._saves
        while self._saved < wanted:
            if self._writer.done():
                raise StoreUnavailable
            self._at_once.set()
            await asyncio.shield(self._round)

    def check(self) -> None:
        """Raise `StoreUnavailable` while rows can't be written."""
        if self._failing:
            raise StoreUnavailable

    async def get(self, run_id: str) -> Run:
        """How a run stands that this process doesn't drive. A row that disagrees with the log is corrected.

        Raise `RunNotFound`, `RunExpired`, `LogUnavailable` or `StoreUnavailable`.
        """
        run = await self._row(run_id)
        if run is None and await self._is_deleted(run_id):
            raise RunNotFound
        try:
            position = await self._log.position(run_id)
        except (RunNotFound, RunExpired):
            if run is None:
                raise
            return run  # the record outlives the events
        if run is not None and _agree(run, position):
            return run
        try:
            return await self.correct(run_id, run)
        except ValueError:
            logger.exception("the log of run %s is damaged", run_id)
            if run is None:
                raise RunNotFound from None
            return run

    async def correct(self, run_id: str, run: Run | None) -> Run:
        """Record soon what the log tells of a run. What is not in the log is taken from `run`."""
        corrected = await run_in_log(self._log, run_id, run)
        logger.info("the record of run %s is corrected: %s", run_id, corrected.status)
        if run is None and corrected.session_id is not None:
            await self._restore_session(corrected.session_id, run_id)
        self.save_as(corrected)
        return corrected

    async def _restore_session(self, session_id: str, run_id: str) -> None:
        """The session of a run whose record is lost; of such runs, the latest is its head."""
        session = StoredSession(session_id=session_id, head_run_id=run_id, created_at=now(), updated_at=now())
        async with self._database.writing() as connection:
            known = await get_session(connection, session_id)
            if known is None:
                await create_session(connection, session)
            elif known.head_run_id is None or known.head_run_id < run_id:
                await set_head(connection, session_id, run_id)

    async def page(self, session_id: str | None, status: RunStatus | None, before: str | None, limit: int) -> RunList:
        """A page of runs, the latest first. Raise `InvalidCursor` or `StoreUnavailable`."""
        if before is not None and not RUN_ID.fullmatch(before):
            raise InvalidCursor("The cursor is not a next_cursor of this list.")
        await self.flush()
        async with self._database.reading() as connection:
            runs = await list_runs(connection, session_id=session_id, status=status, before=before, limit=limit + 1)
        return RunList(runs=runs[:limit], next_cursor=runs[limit - 1].run_id if len(runs) > limit else None)

    async def suspend(self, run: Run, checkpoint: SuspendedRun) -> None:
        """Record how a run stands that is about to wait, and with what it goes on. Raise `StoreUnavailable`."""
        async with self._database.writing() as connection:
            await save_runs(connection, [run])
            await put_suspended_run(connection, checkpoint)

    async def checkpoint(self, run_id: str) -> SuspendedRun:
        """With what a run goes on that has waited. Raise `RunNotWaiting` or `StoreUnavailable`."""
        async with self._database.reading() as connection:
            stored = await get_suspended_run(connection, run_id)
        if not isinstance(stored, SuspendedRun):
            raise RunNotWaiting
        return stored

    async def asked(self, run_id: str) -> Mapping[str, Any]:
        """What a run that waits is asked for. Raise as `checkpoint` does."""
        async with self._database.reading() as connection:
            request = await get_suspended_request(connection, run_id)
        if request is None:
            raise RunNotWaiting
        return request

    @asynccontextmanager
    async def recorded(self, run: Run) -> AsyncGenerator[None, None]:
        """Records a run before it is begun inside. If it can't begin, nothing of it stays. Raise `StoreUnavailable`."""
        async with self._database.writing() as connection:
            await save_runs(connection, [run])
        try:
            yield
        except BaseException:
            async with self._database.writing() as connection:
                await delete_run(connection, run.run_id)
            raise

    async def aclose(self) -> None:
        """Write what is left, if that can be done."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(2 * RETRY_S):
                await self.flush()
        self._writer.cancel()
        await asyncio.wait({self._writer})

    async def _row(self, run_id: str) -> Run | None:
        if snapshot := self._unsaved.get(run_id) or self._in_hand.get(run_id):
            return snapshot()
        async with self._database.reading() as connection:
            return await get_run(connection, run_id)

    async def _is_deleted(self, run_id: str) -> bool:
        """Whether the run's events are about to be deleted, as its row is."""
        async with self._database.reading() as connection:
            return await is_deleted(connection, run_id)

    async def _write(self) -> None:
        while True:
            await self._something.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S if self._failing else LINGER_S):
                    await self._at_once.wait()
            self._something.clear()
            self._at_once.clear()
            self._in_hand, self._unsaved, saves = self._unsaved, {}, self._saves
            try:
                await self._record([snapshot() for snapshot in self._in_hand.values()])
            except (StoreUnavailable, LogUnavailable):
                self._unsaved = self._in_hand | self._unsaved
                self._something.set()
                self._tell(StoreUnavailable())
            else:
                self._saved = saves
                self._tell(None)
            self._in_hand = {}

    def _stopped(self, writer: asyncio.Task[None]) -> None:
        """Nobody waits for a writer that a fault has ended, and no run starts that could not be recorded."""
        if not writer.cancelled():
            logger.critical("runs can't be recorded any more: restart the service", exc_info=writer.exception())
        self._tell(StoreUnavailable())

    def _tell(self, error: StoreUnavailable | None) -> None:
        """End a round, and with it the waiting of those who wanted it."""
        self._failing = error is not None
        over, self._round = self._round, asyncio.get_running_loop().create_future()
        if error is None:
            over.set_result(None)
        else:
            over.set_exception(error)
            over.exception()  # nobody has to wait for it

    async def _record(self, runs: Sequence[Run]) -> None:
        ended = [run for run in runs if run.status in OVER]
        answers = [(run, run.session_id, await self._answer(run)) for run in ended if run.session_id is not None]
        async with self._database.writing() as connection:
            await save_runs(connection, runs)
            await delete_waiting_runs(connection, [run.run_id for run in ended])
            for run, session_id, messages in answers:
                if messages is not None:
                    await replace_answer(connection, session_id, run.run_id, messages)
        for run in ended:
            await self._archive(run.run_id)

    async def _answer(self, run: Run) -> list[StoredMessage] | None:
        """What the run said, as far as its log still has it."""
        transcript = Transcript(run.run_id)
        pages = self._log.read(run.run_id, 0, follow=False)
        try:
            async with aclosing(events_in(pages, ANSWERING)) as events:
                async for event in events:
                    transcript.add(event)
            return transcript.messages()
        except (RunNotFound, RunExpired, ValueError, LookupError) as error:
            logger.warning("the events of run %s can't be read any more: %s", run.run_id, type(error).__name__)
            return None

    async def _archive(self, run_id: str) -> None:
        try:
            await self._log.archive(run_id)
        except (RunNotFound, RunExpired):
            logger.info("the events of run %s are gone", run_id)
        except (LogUnavailable, ValueError):
            logger.warning("run %s could not be archived; the next start tries again", run_id)


def _agree(run: Run, position: LogPosition) -> bool:
    return position.ended == (run.status in OVER) and run.last_seq == position.last_seq
