"""Checks whether a run could start now."""

from database.engine import Database
from event_logs.base import EventLog
from services.runs.admission import Admission
from services.upstreams.selection import Upstreams


class Readiness:
    """Checks what every run needs: a place, the event log, the database and a model."""

    def __init__(self, admission: Admission, log: EventLog, database: Database, upstreams: Upstreams) -> None:
        self._admission = admission
        self._log = log
        self._database = database
        self._upstreams = upstreams

    async def check(self) -> None:
        """Raise a `CapacityError` if a run could not start now."""
        self._admission.admit()
        await self._log.check()
        await self._database.check()
        if self._upstreams.all[0].kind == "local":
            self._upstreams.local.check()
