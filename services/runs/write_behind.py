"""Writes the database's rows of runs some time after their events, many rows in one transaction.

The log is the truth and a row follows it, so no token waits for the database. A run is archived in the log only after
its row has the run's end and its session has the messages. A crash therefore leaves work only for runs that aren't
archived, and the next start doesn't have to look at any others.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress

from database.engine import Database
from database.messages import replace_answer
from database.runs import save_runs
from database.suspended_runs import delete_waiting_runs
from errors import LogUnavailable, RunExpired, RunNotFound, StoreUnavailable
from event_logs.base import EventLog
from event_logs.reading import events_in
from run_models import Run
from services.runs.projection import ANSWER_EVENTS, FINISHED, Transcript
from session_models import StoredMessage

logger = logging.getLogger(__name__)

# How long the first row waits for others: a transaction of any size takes ten hops to the database's thread.
LINGER_S = 0.2
RETRY_S = 1.0  # how long a failed transaction waits for the next try

Snapshot = Callable[[], Run]


class WriteBehind:
    """Queues rows and writes them in the background. Make it in a running loop; `aclose` writes what is queued."""

    def __init__(self, database: Database, log: EventLog) -> None:
        self._database = database
        self._log = log
        self._queued: dict[str, Snapshot] = {}
        self._writing: dict[str, Snapshot] = {}
        self._has_queued = asyncio.Event()
        self._flush_wanted = asyncio.Event()
        self._saves = 0  # calls of `save` so far …
        self._saves_written = 0  # … and those among them whose rows are written
        self._round: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_failing = False
        self._task = asyncio.create_task(self._write_rounds(), name="run records")
        self._task.add_done_callback(self._stopped)

    def save(self, run_id: str, snapshot: Snapshot) -> None:
        """Queue a run's row. `snapshot` is called when the row is written, so several saves cost one write."""
        self._queued[run_id] = snapshot
        self._saves += 1
        self._has_queued.set()

    def save_as(self, run: Run) -> None:
        """Queue this row."""
        self.save(run.run_id, lambda: run)

    def unwritten(self, run_id: str) -> Run | None:
        """Return the row that is queued or being written for a run, if there is one."""
        snapshot = self._queued.get(run_id) or self._writing.get(run_id)
        return snapshot and snapshot()

    async def flush(self) -> None:
        """Wait until every row that is queued by now is written. Raise `StoreUnavailable` if that fails."""
        wanted = self._saves
        while self._saves_written < wanted:
            if self._task.done():
                raise StoreUnavailable
            self._flush_wanted.set()
            await asyncio.shield(self._round)

    def check(self) -> None:
        """Raise `StoreUnavailable` while rows can't be written."""
        if self._is_failing:
            raise StoreUnavailable

    async def aclose(self) -> None:
        """Write what is queued if the database allows it, and stop."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(2 * RETRY_S):
                await self.flush()
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _write_rounds(self) -> None:
        while True:
            await self._has_queued.wait()
            await self._linger()
            await self._write_round()

    async def _linger(self) -> None:
        """Let more rows come together, unless somebody waits in `flush`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S if self._is_failing else LINGER_S):
                await self._flush_wanted.wait()

    async def _write_round(self) -> None:
        # Both events are cleared before the queue is taken: a save or a flush that comes during the transaction sets
        # them again and gets the next round.
        self._has_queued.clear()
        self._flush_wanted.clear()
        self._writing, self._queued = self._queued, {}
        saves = self._saves
        try:
            await self._write([snapshot() for snapshot in self._writing.values()])
        except (StoreUnavailable, LogUnavailable):
            self._queued = self._writing | self._queued  # a snapshot that was queued meanwhile is the newer one
            self._has_queued.set()
            self._end_round(StoreUnavailable())
        else:
            self._saves_written = saves
            self._end_round(None)
        self._writing = {}

    def _end_round(self, error: StoreUnavailable | None) -> None:
        """Wake everybody in `flush`, with the error if there is one."""
        self._is_failing = error is not None
        ended, self._round = self._round, asyncio.get_running_loop().create_future()
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)
            ended.exception()  # marks it as retrieved: asyncio logs an error that nobody waited for

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """Fail every flush, and admit no more runs, after a bug has ended the task."""
        if not task.cancelled():
            logger.critical("run records can't be written any more: restart the service", exc_info=task.exception())
        self._end_round(StoreUnavailable())

    async def _write(self, runs: Sequence[Run]) -> None:
        """Write rows, and for runs that have ended their messages, in one transaction; then archive these runs."""
        ended = [run for run in runs if run.status in FINISHED]
        answers = [(run.run_id, await self._answer(run)) for run in ended if run.session_id is not None]
        async with self._database.writing() as connection:
            await save_runs(connection, runs)
            await delete_waiting_runs(connection, [run.run_id for run in ended])
            for run_id, messages in answers:
                if messages is not None:
                    await replace_answer(connection, run_id, messages)
        for run in ended:
            await self._archive(run.run_id)

    async def _answer(self, run: Run) -> list[StoredMessage] | None:
        """Return the run's messages, or None if its events are gone or damaged."""
        transcript = Transcript(run.run_id)
        pages = self._log.read(run.run_id, 0, follow=False)
        try:
            async with aclosing(events_in(pages, ANSWER_EVENTS)) as events:
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
            logger.info("the events of run %s were deleted before it could be archived", run_id)
        except (LogUnavailable, ValueError):
            logger.warning("run %s could not be archived; the next start tries again", run_id)
