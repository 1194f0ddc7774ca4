"""Deletes what is past its retention: events and runs, idempotency keys, and sessions that aren't used."""

import asyncio
import logging
from datetime import timedelta

from database.engine import Database
from database.idempotency import expire_keys
from database.runs import expire_runs
from errors import LogUnavailable, StoreUnavailable
from event_logs.base import EventLog
from models import now
from services.runs.deletions import delete_events
from services.runs.idempotency import VALID
from services.sessions.sessions import Sessions

logger = logging.getLogger(__name__)

PAUSE_S = 3600.0


class Retention:
    """Looks once at start, in the background, and then every hour. Make it in a running loop.

    Events, and runs of no session, are kept for `kept`. A session is kept for `sessions_kept` after its last use, and
    for ever without it.
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
        """Delete now. The runs and messages of a session are kept as long as the session. Raise a `CapacityError`."""
        await self._log.expire()
        async with self._database.writing() as connection:
            runs = await expire_runs(connection, _ago(self._kept)[:10])  # whole days, as the log
            keys = await expire_keys(connection, _ago(VALID))
        sessions = 0
        if self._sessions_kept is not None:
            sessions = await self._sessions.expire(_ago(self._sessions_kept))
        await delete_events(self._database, self._log)
        logger.info("past retention: %d runs, %d sessions, %d idempotency keys", runs, sessions, keys)

    async def aclose(self) -> None:
        """Stop looking."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _repeat(self) -> None:
        while True:
            try:
                await self.sweep()
            except (LogUnavailable, StoreUnavailable) as error:
                logger.warning("nothing was let go: %s", error.code)
            await asyncio.sleep(PAUSE_S)


def _ago(time: timedelta) -> str:
    return now(-time.total_seconds())
