"""Reads and writes the database's record of each run, and corrects it from the log.

The log is the truth. A record that disagrees with it is replaced by what the log says.
"""

import logging
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from database.deletions import is_deleted
from database.engine import Database
from database.runs import delete_run, get_run, list_runs, save_runs
from database.sessions import create_session, get_session, set_head
from database.suspended_runs import SuspendedRun, get_suspended_request, get_suspended_run, put_suspended_run
from errors import InvalidCursor, RunExpired, RunNotFound, RunNotWaiting, StoreUnavailable
from event_logs.base import EventLog, LogPosition
from run_models import Run, RunList, RunStatus, SessionKey, now
from services.runs.projection import FINISHED, owner_in_log, run_in_log
from services.runs.write_behind import WriteBehind
from session_models import StoredSession

logger = logging.getLogger(__name__)

RUN_ID = re.compile(r"run_[0-9a-f]{32}")


class RunRecords:
    """The records of runs.

    Rows that can be written a little later go through `write_behind`. All others are written at once.
    """

    def __init__(self, database: Database, log: EventLog, write_behind: WriteBehind) -> None:
        self._database = database
        self._log = log
        self._write_behind = write_behind

    async def get(self, owner: str, run_id: str) -> Run:
        """Return the record of a run that this process doesn't drive, corrected if it disagrees with the log.

        A run of another owner is answered like one that nobody has started. Raise `RunNotFound`, `RunExpired`,
        `LogUnavailable` or `StoreUnavailable`.
        """
        run = await self._get(run_id)
        if run.owner != owner:
            raise self._log.missing(run_id)
        return run

    async def check_owner(self, owner: str, run_id: str) -> None:
        """Raise as `get`. The log has the owner, too, so events can be read while the database is unavailable."""
        try:
            await self.get(owner, run_id)
        except StoreUnavailable:
            if await owner_in_log(self._log, run_id) != owner:
                raise self._log.missing(run_id) from None

    async def _get(self, run_id: str) -> Run:
        run = self._write_behind.unwritten(run_id) or await self._row(run_id)
        if run is None and await self._is_deleted(run_id):
            raise RunNotFound
        try:
            position = await self._log.position(run_id)
        except (RunNotFound, RunExpired):
            if run is None:
                raise
            return run  # events are deleted before records, and a restart loses those in memory
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
        """Replace a run's record by what the log says, and return it. Fields that the log lacks are taken from `run`.

        Raise as `run_in_log` does, or `StoreUnavailable`.
        """
        corrected = await run_in_log(self._log, run_id, run)
        logger.info("the record of run %s is corrected: %s", run_id, corrected.status)
        if run is None and corrected.session_key is not None:
            await self._restore_session(corrected.session_key, run_id)
        self._write_behind.save_as(corrected)
        return corrected

    async def _restore_session(self, key: SessionKey, run_id: str) -> None:
        """Make sure that a run whose record was lost has its session; the latest such run becomes its head."""
        session = StoredSession(**key._asdict(), head_run_id=run_id, created_at=now(), updated_at=now())
        async with self._database.writing() as connection:
            known = await get_session(connection, key)
            if known is None:
                await create_session(connection, session)
            elif known.head_run_id is None or known.head_run_id < run_id:  # ids rise with time
                await set_head(connection, key, run_id)

    async def page(
        self, owner: str, session_id: str | None, status: RunStatus | None, before: str | None, limit: int
    ) -> RunList:
        """Return a page of an owner's runs, the latest first. Raise `InvalidCursor` or `StoreUnavailable`."""
        if before is not None and not RUN_ID.fullmatch(before):
            raise InvalidCursor("The cursor is not a next_cursor of this list.")
        await self._write_behind.flush()
        async with self._database.reading() as connection:
            # One row more than the page holds shows whether there is a next page.
            runs = await list_runs(
                connection, owner, session_id=session_id, status=status, before=before, limit=limit + 1
            )
        next_cursor = runs[limit - 1].run_id if len(runs) > limit else None
        return RunList(runs=runs[:limit], next_cursor=next_cursor)

    async def suspend(self, run: Run, stored: SuspendedRun) -> None:
        """Record a run that is about to wait, with what it needs to resume. Raise `StoreUnavailable`."""
        async with self._database.writing() as connection:
            await save_runs(connection, [run])
            await put_suspended_run(connection, stored)

    async def suspended_run(self, run_id: str) -> SuspendedRun:
        """Return what a waiting run needs to resume. Raise `RunNotWaiting` or `StoreUnavailable`."""
        async with self._database.reading() as connection:
            stored = await get_suspended_run(connection, run_id)
        if not isinstance(stored, SuspendedRun):
            raise RunNotWaiting
        return stored

    async def suspended_request(self, run_id: str) -> Mapping[str, Any]:
        """Return the request of a waiting run. Raise `RunNotWaiting` or `StoreUnavailable`."""
        async with self._database.reading() as connection:
            request = await get_suspended_request(connection, run_id)
        if request is None:
            raise RunNotWaiting
        return request

    @asynccontextmanager
    async def recorded(self, run: Run) -> AsyncGenerator[None, None]:
        """Record a run that the caller begins inside, and delete the record if that raises.

        Raise `StoreUnavailable`.
        """
        async with self._database.writing() as connection:
            await save_runs(connection, [run])
        try:
            yield
        except BaseException:  # a cancellation, too
            async with self._database.writing() as connection:
                await delete_run(connection, run.run_id)
            raise

    async def _row(self, run_id: str) -> Run | None:
        async with self._database.reading() as connection:
            return await get_run(connection, run_id)

    async def _is_deleted(self, run_id: str) -> bool:
        """Whether the run was deleted but its events are still there."""
        async with self._database.reading() as connection:
            return await is_deleted(connection, run_id)


def _agree(run: Run, position: LogPosition) -> bool:
    return position.ended == (run.status in FINISHED) and run.last_seq == position.last_seq
