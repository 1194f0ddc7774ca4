"""At start: ends what a former process has left open, and corrects its records."""

import asyncio
import logging
import sys
from contextlib import aclosing
from uuid import uuid4

from database.engine import Database
from database.runs import delete_run, get_run, unfinished_runs
from database.sessions import get_session, set_head
from errors import Interrupted, RunExpired, RunNotFound
from event_logs.base import EventLog
from events import RunError
from models import Run, RunStatus, now
from services.event_reading import events_in
from services.run_events import RunEvents
from services.run_records import RunRecords

logger = logging.getLogger(__name__)

AT_ONCE = 16  # runs that are looked at together: each waits for the disk


async def recover(database: Database, log: EventLog, records: RunRecords) -> None:
    """Give every run that no process drives any more its end in the log, and every record what the log tells.

    Raise `LogUnavailable` or `StoreUnavailable`.
    """
    places = asyncio.Semaphore(AT_ONCE)

    async def end(run_id: str) -> None:
        async with places:
            if await _ended(log, run_id):
                async with database.reading() as connection:
                    known = await get_run(connection, run_id)
                await _correct(records, run_id, known)

    await asyncio.gather(*(end(run_id) for run_id in await log.unarchived()))
    await records.flush()
    await _correct_rows(database, log, records)


async def _ended(log: EventLog, run_id: str) -> bool:
    """Whether the run has ended in the log by now. One that had not begun is let go."""
    position = await log.position(run_id)
    if position.ended:
        return True
    writer = await log.take_over(run_id)
    if writer.last_seq == 0:
        await log.delete(run_id)
        return False
    run = RunEvents(writer, sys.maxsize)
    try:
        async with aclosing(events_in(log.read(run_id, 0, follow=False))) as events:
            async for event in events:
                run.take_over(event)
    except (ValueError, LookupError):
        logger.exception("the log of run %s is damaged: it is ended as far as it can be read", run_id)
    request_id = f"req_{uuid4().hex}"
    logger.warning("run %s was left open by a server that is gone (request %s)", run_id, request_id)
    run.conclude("failed", Interrupted(), request_id)
    await run.commit()
    return True


async def _correct_rows(database: Database, log: EventLog, records: RunRecords) -> None:
    """Rows of runs that are said to be under way, though none is."""
    async with database.reading() as connection:
        rows = await unfinished_runs(connection)
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
    request_id = f"req_{uuid4().hex}"
    logger.warning("the events of run %s are lost (request %s)", row.run_id, request_id)
    failure = Interrupted()
    error = RunError(code=failure.code, message=failure.message, retryable=failure.retryable, request_id=request_id)
    return row.model_copy(update={"status": RunStatus.FAILED, "finished_at": now(), "error": error})
