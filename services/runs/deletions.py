"""Deletes the events of runs whose records are deleted, however often a crash or a full disk comes in between."""

import logging
from contextlib import suppress

from database.deletions import marked_runs, unmark
from database.engine import Database
from errors import LogUnavailable, RunExpired, RunNotFound, StoreUnavailable
from event_logs.base import EventLog

logger = logging.getLogger(__name__)

AT_ONCE = 200  # runs whose marks are read and removed together: some milliseconds


async def delete_events(database: Database, log: EventLog) -> None:
    """Delete the events of all runs that are marked as deleted, and remove the marks.

    What can't be deleted now stays marked for the next call: after another deletion, within the hour, or at the next
    start.
    """
    last = ""
    try:
        while marked := await _marked(database, last):
            last = marked[-1]
            gone = [run_id for run_id in marked if await _is_deleted(log, run_id)]
            async with database.writing() as connection:
                await unmark(connection, gone)
    except StoreUnavailable:
        logger.warning("the events of deleted runs are left to be deleted: the database can't be used")


async def _marked(database: Database, after: str) -> list[str]:
    async with database.reading() as connection:
        return await marked_runs(connection, after=after, limit=AT_ONCE)


async def _is_deleted(log: EventLog, run_id: str) -> bool:
    """Delete a run's events; False where that can't be done now."""
    try:
        with suppress(RunNotFound, RunExpired):
            await log.delete(run_id)
    except (LogUnavailable, ValueError) as error:
        logger.warning("the events of run %s can't be deleted yet: %s", run_id, type(error).__name__)
        return False
    return True
