"""At start, ends the runs that a former process left working, corrects records, and finds the runs to restore."""

import asyncio
import logging
from collections.abc import Collection
from contextlib import aclosing
from typing import NamedTuple

from database.deletions import marked_runs
from database.engine import Database
from database.runs import delete_run, get_run, unfinished_runs
from database.sessions import get_session, set_head
from database.suspended_runs import QueuedRun, SuspendedRun, get_suspended_run, keep_waiting_runs
from errors import Interrupted, RunExpired, RunNotFound
from event_data import RunError
from event_logs.base import EventLog
from event_logs.reading import events_in
from models import new_request_id
from run_models import Run, RunStatus, now
from services.runs.deletions import delete_events
from services.runs.records import RunRecords
from services.runs.suspension import LoggedWait, Resumption, Wait, usage_of_step
from services.runs.write_behind import WriteBehind
from services.runs.writer import UNBOUNDED, RunWriter

logger = logging.getLogger(__name__)

AT_ONCE = 16  # runs that are read at the same time, since each one waits for the disk


class RestorableWait(NamedTuple):
    """A run that a former process left waiting for answers.

    Either it continues in its `wait`, or every call has its answer and it has a `resumption`: the former process
    stopped while it ran the approved calls.
    """

    run: Run
    writer: RunWriter
    wait: Wait | None
    resumption: Resumption | None


class RestorableTurn(NamedTuple):
    """A run that a former process left waiting for its turn."""

    run: Run
    writer: RunWriter
    stored: QueuedRun


RestorableRun = RestorableWait | RestorableTurn


async def recover(
    database: Database, log: EventLog, write_behind: WriteBehind, records: RunRecords
) -> list[RestorableRun]:
    """End every run that a former process left working, and correct every record that disagrees with the log.

    Return the runs that wait, for answers or for their turn, and can be restored. Raise `LogUnavailable` or
    `StoreUnavailable`.
    """
    return await _Recovery(database, log, write_behind, records).run()


class _Recovery:
    def __init__(self, database: Database, log: EventLog, write_behind: WriteBehind, records: RunRecords) -> None:
        self._database = database
        self._log = log
        self._write_behind = write_behind
        self._records = records
        self._places = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> list[RestorableRun]:
        """See `recover`."""
        await delete_events(self._database, self._log)
        restorable = await self._recover_unarchived()
        await self._write_behind.flush()
        run_ids = {run.run.run_id for run in restorable}
        await self._correct_rows(run_ids)
        async with self._database.writing() as connection:
            await keep_waiting_runs(connection, run_ids)
        return restorable

    async def _recover_unarchived(self) -> list[RestorableRun]:
        """Recover every run in the log that is not archived. All others are recorded completely."""
        async with self._database.reading() as connection:
            undeletable = set(await marked_runs(connection))  # deleted runs whose events can't be deleted yet
        run_ids = [run_id for run_id in await self._log.unarchived() if run_id not in undeletable]
        recovered = await asyncio.gather(*map(self._recover_run, run_ids))
        return [run for run in recovered if run is not None]

    async def _recover_run(self, run_id: str) -> RestorableRun | None:
        """Return the run if it can be restored. Else end it in the log and correct its record."""
        async with self._places:
            async with self._database.reading() as connection:
                row = await get_run(connection, run_id)
                stored = await get_suspended_run(connection, run_id)
            position = await self._log.position(run_id)
            if not position.ended:
                log_writer = await self._log.take_over(run_id)
                if log_writer.last_seq == 0:  # no caller has its id
                    await self._log.delete(run_id)
                    return None
                writer = RunWriter(log_writer, UNBOUNDED)
                logged = await self._replay(run_id, writer)
                if logged is not None and (restorable := _restorable(row, stored, writer, logged)):
                    await writer.release()
                    return restorable
                await _interrupt(run_id, writer)
            await self._correct(run_id, row)
            return None

    async def _replay(self, run_id: str, writer: RunWriter) -> LoggedWait | None:
        """Replay the run's events to the writer and return its latest wait, or None if the log is damaged."""
        logged = LoggedWait()
        try:
            async with aclosing(events_in(self._log.read(run_id, 0, follow=False))) as events:
                async for event in events:
                    writer.replay(event)
                    logged.add(event)
        except (ValueError, LookupError):
            logger.exception("the log of run %s is damaged: the run ends after the last readable event", run_id)
            return None
        return logged

    async def _correct_rows(self, restorable: Collection[str]) -> None:
        """Correct the rows that say a run is under way, except those of the restorable runs."""
        async with self._database.reading() as connection:
            rows = [run for run in await unfinished_runs(connection) if run.run_id not in restorable]
        for row in reversed(rows):  # the latest first, so that a session's head moves back from run to run
            try:
                await self._log.position(row.run_id)
            except (RunNotFound, RunExpired):
                if row.last_seq == 0:
                    await self._delete_record(row)
                else:
                    self._write_behind.save_as(_lost(row))
            else:
                await self._correct(row.run_id, row)
        await self._write_behind.flush()

    async def _correct(self, run_id: str, row: Run | None) -> None:
        try:
            await self._records.correct(run_id, row)
        except ValueError:
            logger.exception("the log of run %s is damaged", run_id)
            if row is not None:
                self._write_behind.save_as(_lost(row))

    async def _delete_record(self, row: Run) -> None:
        """Delete the record of a run that had not begun, since no caller has its id."""
        async with self._database.writing() as connection:
            await delete_run(connection, row.run_id)
            if row.session_key is None:
                return
            session = await get_session(connection, row.session_key)
            if session is not None and session.head_run_id == row.run_id:
                await set_head(connection, row.session_key, row.parent_run_id)


def _restorable(
    row: Run | None, stored: SuspendedRun | QueuedRun | None, writer: RunWriter, logged: LoggedWait
) -> RestorableRun | None:
    """Return the run if it waited, and None if it was working."""
    match stored:
        case QueuedRun() if row is not None:
            # A run whose turn has not come has `run_started` alone in its log.
            is_queued = row.status == RunStatus.QUEUED and writer.last_seq == 1
            return RestorableTurn(row, writer, stored) if is_queued else None
        case SuspendedRun() if row is not None and (wait := logged.wait(stored)):
            writer.resume_step(usage_of_step(stored))
            if wait.is_over:
                return RestorableWait(row, writer, None, Resumption(stored, logged.outcomes()))
            return RestorableWait(row, writer, wait, None)
        case _:
            return None


async def _interrupt(run_id: str, writer: RunWriter) -> None:
    request_id = new_request_id()
    logger.warning("run %s was under way when the server stopped, and ends as failed (request %s)", run_id, request_id)
    writer.conclude("failed", Interrupted(), request_id)
    await writer.commit()


def _lost(row: Run) -> Run:
    """Return the record of a run whose events are lost, for example if they were in a former process's memory."""
    request_id = new_request_id()
    logger.warning("the events of run %s are lost, and it ends as failed (request %s)", row.run_id, request_id)
    failure = Interrupted()
    error = RunError(code=failure.code, message=failure.message, retryable=failure.retryable, request_id=request_id)
    return row.model_copy(update={"status": RunStatus.FAILED, "finished_at": now(), "error": error})
