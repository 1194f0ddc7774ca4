"""Deletes the events of runs whose records are deleted, and tries again after a crash or a full disk."""

import logging
from contextlib import suppress

from database.deletions import marked_runs, unmark
from database.engine import Database
from errors import LogUnavailable, RunExpired, RunNotFound, StoreUnavailable
from event_logs.base import EventLog

logger = logging.getLogger(__name__)

AT_ONCE = 200  # marks that are read and removed in one transaction, which takes some milliseconds


async def delete_events(database: Database, log: EventLog) -> None:
    """Delete the events of all runs that are marked as deleted, and remove the marks.

    Events that can't be deleted now stay marked. The next call, after another deletion, within the hour or at the next
    start, tries again.
    """
    last = ""
    try:
        while marked := await _marked(database, last):
            last = marked[-1]
            gone = [run_id for run_id in marked if await _is_deleted(log, run_id)]
            async with database.writing() as connection:
                await unmark(connection, gone)
    except StoreUnavailable:
        logger.warning("the events of deleted runs are deleted later: the database is unavailable")


async def _marked(database: Database, after: str) -> list[str]:
    async with database.reading() as connection:
        return await marked_runs(connection, after=after, limit=AT_ONCE)


async def _is_deleted(log: EventLog, run_id: str) -> bool:
    """Delete a run's events and return whether that worked."""
    try:
        with suppress(RunNotFound, RunExpired):
            await log.delete(run_id)
    except (LogUnavailable, ValueError) as error:
        logger.warning("the events of run %s can't be deleted yet: %s", run_id, type(error).__name__)
        return False
    return True
