"""At start: ends what a former process has left open, but for what waits and can go on, and corrects its records."""

import asyncio
import logging
from collections.abc import Collection
from contextlib import aclosing
from typing import Literal, NamedTuple

from database.deletions import marked_runs
from database.engine import Database
from database.runs import delete_run, get_run, unfinished_runs
from database.sessions import get_session, set_head
from database.suspended_runs import QueuedRun, SuspendedRun, get_suspended_run, keep_waiting_runs
from errors import Interrupted, RunExpired, RunNotFound
from event_logs.base import EventLog
from event_logs.reading import events_in
from events import RunError
from models import Run, RunStatus, new_request_id, now
from services.runs.deletions import delete_events
from services.runs.records import RunRecords
from services.runs.suspension import LoggedWait, Resumption, Wait
from services.runs.writer import UNBOUNDED, RunWriter

logger = logging.getLogger(__name__)


class RestorableWait(NamedTuple):
    """A run that waits for a person, and whose process is gone.

    With `resumption`, every call has its answer: the process went while it ran the approved ones. Otherwise the run
    goes on in its `wait`.
    """

    run: Run
    events: RunWriter
    wait: Wait | None
    resumption: Resumption | None


class RestorableTurn(NamedTuple):
    """A run that waits for its turn, and whose process is gone."""

    run: Run
    events: RunWriter
    stored: QueuedRun


RestorableRun = RestorableWait | RestorableTurn

AT_ONCE = 16  # runs that are looked at together: each waits for the disk


async def recover(database: Database, log: EventLog, records: RunRecords) -> list[RestorableRun]:
    """Give every run that no process drives any more its end in the log, and every record what the log tells.

    Those that wait for a person or for their turn, and can go on, are given back. Raise `LogUnavailable` or
    `StoreUnavailable`.
    """
    places = asyncio.Semaphore(AT_ONCE)

    async def look(run_id: str) -> RestorableRun | None:
        async with places:
            async with database.reading() as connection:
                known = await get_run(connection, run_id)
                stored = await get_suspended_run(connection, run_id)
            left = await _left(log, run_id, known, stored)
            if left is None:
                await _correct(records, run_id, known)
            return left or None

    await delete_events(database, log)
    async with database.reading() as connection:
        deleted = set(await marked_runs(connection))  # whose events can't be deleted
    unarchived = [run_id for run_id in await log.unarchived() if run_id not in deleted]
    waiting = [left for left in await asyncio.gather(*map(look, unarchived)) if left is not None]
    await records.flush()
    kept = {left.run.run_id for left in waiting}
    await _correct_rows(database, log, records, kept)
    async with database.writing() as connection:
        await keep_waiting_runs(connection, kept)
    return waiting


async def _left(
    log: EventLog, run_id: str, known: Run | None, stored: SuspendedRun | QueuedRun | None
) -> RestorableRun | Literal[False] | None:
    """A run that can go on. None if it has ended in the log by now; False if it was nobody's yet."""
    position = await log.position(run_id)
    if position.ended:
        return None
    writer = await log.take_over(run_id)
    if writer.last_seq == 0:
        await log.delete(run_id)
        return False
    run = RunWriter(writer, UNBOUNDED)
    logged = LoggedWait()
    try:
        async with aclosing(events_in(log.read(run_id, 0, follow=False))) as events:
            async for event in events:
                run.replay(event)
                logged.add(event)
    except (ValueError, LookupError):
        logger.exception("the log of run %s is damaged: it is ended as far as it can be read", run_id)
    else:
        if left := await _as_left(known, stored, run, logged):
            return left
    await _interrupt(run, run_id)
    return None


async def _as_left(
    known: Run | None, stored: SuspendedRun | QueuedRun | None, run: RunWriter, logged: LoggedWait
) -> RestorableRun | None:
    """The run, unless it was working. A run whose turn has not come has `run_started` alone in its log."""
    if known is None or stored is None:
        return None
    left: RestorableRun
    if isinstance(stored, QueuedRun):
        if known.status != RunStatus.QUEUED or run.last_seq > 1:
            return None
        left = RestorableTurn(known, run, stored)
    else:
        if (wait := logged.wait(stored)) is None:
            return None
        if wait.is_over:
            left = RestorableWait(known, run, None, Resumption(stored, logged.outcomes()))
        else:
            left = RestorableWait(known, run, wait, None)
    await run.release()
    return left


async def _interrupt(run: RunWriter, run_id: str) -> None:
    request_id = new_request_id()
    logger.warning("run %s was left open by a server that is gone (request %s)", run_id, request_id)
    run.conclude("failed", Interrupted(), request_id)
    await run.commit()


async def _correct_rows(database: Database, log: EventLog, records: RunRecords, kept: Collection[str]) -> None:
    """Rows of runs that are said to be under way, though none is but those that are `kept`."""
    async with database.reading() as connection:
        rows = [run for run in await unfinished_runs(connection) if run.run_id not in kept]
    for row in reversed(rows):  # a session's head goes back from run to run
        try:
            await log.position(row.run_id)
        except (RunNotFound, RunExpired):
            if row.last_seq == 0:
                await _take_back(database, row)
            else:
                records.save_as(_lost(row))
        else:
            await _correct(records, row.run_id, row)
    await records.flush()


async def _correct(records: RunRecords, run_id: str, known: Run | None) -> None:
    try:
        await records.correct(run_id, known)
    except ValueError:
        logger.exception("the log of run %s is damaged", run_id)
        if known is not None:
            records.save_as(_lost(known))


async def _take_back(database: Database, row: Run) -> None:
    """A run that had not begun when the server went was nobody's yet."""
    async with database.writing() as connection:
        await delete_run(connection, row.run_id)
        if row.session_id is not None:
            session = await get_session(connection, row.session_id)
            if session is not None and session.head_run_id == row.run_id:
                await set_head(connection, row.session_id, row.parent_run_id)


def _lost(row: Run) -> Run:
    """A run whose events went with the server's memory."""
    request_id = new_request_id()
    logger.warning("the events of run %s are lost (request %s)", row.run_id, request_id)
    failure = Interrupted()
    error = RunError(code=failure.code, message=failure.message, retryable=failure.retryable, request_id=request_id)
    return row.model_copy(update={"status": RunStatus.FAILED, "finished_at": now(), "error": error})
