"""Deletes what is past its retention: events and runs, idempotency keys, and unused sessions."""

import asyncio
import logging
from datetime import timedelta

from database.engine import Database
from database.idempotency import expire_keys
from database.runs import expire_runs
from errors import LogUnavailable, StoreUnavailable
from event_logs.base import EventLog
from run_models import now
from services.runs.deletions import delete_events
from services.runs.idempotency import VALID
from services.sessions.sessions import Sessions

logger = logging.getLogger(__name__)

PAUSE_S = 3600.0


class Retention:
    """Sweeps in the background, at start and then every hour. Make it in a running loop.

    Events, and runs without a session, are kept for `kept`. Sessions are kept for `sessions_kept` after their last use,
    or for ever if it is None.
    """

    def __init__(
        self, database: Database, log: EventLog, sessions: Sessions, kept: timedelta, sessions_kept: timedelta | None
    ) -> None:
        self._database = database
        self._log = log
        self._sessions = sessions
        self._kept = kept
        self._sessions_kept = sessions_kept
        self._task = asyncio.create_task(self._repeat(), name="retention")

    async def sweep(self) -> None:
        """Delete what is past its retention now. Raise a `CapacityError`.

        The runs and messages of a session are kept as long as the session.
        """
        await self._log.expire()
        async with self._database.writing() as connection:
            runs = await expire_runs(connection, _ago(self._kept)[:10])  # the day only, as the log deletes whole days
            keys = await expire_keys(connection, _ago(VALID))
        sessions = 0
        if self._sessions_kept is not None:
            sessions = await self._sessions.expire(_ago(self._sessions_kept))
        await delete_events(self._database, self._log)
        logger.info("past retention: %d runs, %d sessions, %d idempotency keys", runs, sessions, keys)

    async def aclose(self) -> None:
        """Stop sweeping."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _repeat(self) -> None:
        while True:
            try:
                await self.sweep()
            except (LogUnavailable, StoreUnavailable) as error:
                logger.warning("data past its retention was not deleted, and will be in the next hour: %s", error.code)
            await asyncio.sleep(PAUSE_S)


def _ago(time: timedelta) -> str:
    return now(-time.total_seconds())
