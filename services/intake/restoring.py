"""Restores the runs that a former process left waiting, for a person or for their turn."""

from collections.abc import Iterable

from models import Run, new_request_id
from services.intake.work import WorkFactory
from services.runs.live import LiveRuns
from services.runs.recovery import RestorableRun, RestorableTurn, RestorableWait
from services.runs.task import RunSpec, RunTask, Work
from settings import Settings


class RunRestorer:
    """Restores the runs that a former process left."""

    def __init__(self, settings: Settings, live: LiveRuns, work: WorkFactory) -> None:
        self._settings = settings
        self._live = live
        self._work = work

    async def restore(self, left: Iterable[RestorableRun]) -> None:
        """Restore runs in their wait, resume those with all their answers, and queue the others behind them.

        A session's queued runs keep their order. Raise `LogUnavailable`.
        """
        queued = []
        for run in left:
            if isinstance(run, RestorableTurn):
                queued.append(run)
            else:
                await self._restore_waiting(run)
        for run in sorted(queued, key=lambda run: run.stored.position):
            await self._restore_queued(run)

    async def _restore_waiting(self, left: RestorableWait) -> None:
        left.events.continue_within(self._settings.max_output_bytes)
        order = self._order(left.run, self._work.suspended(left.run))
        await self._live.restore(order, left.events, left.wait, left.resumption)

    async def _restore_queued(self, left: RestorableTurn) -> None:
        assert left.run.session_id is not None
        left.events.continue_within(self._settings.max_output_bytes)
        work = self._work.queued(left.run, left.stored.request)
        order = self._order(left.run, work, self._live.of_session(left.run.session_id))
        await self._live.restore(order, left.events)

    def _order(self, run: Run, work: Work, behind: tuple[RunTask, ...] = ()) -> RunSpec:
        return RunSpec.within(self._settings, run, work, new_request_id(), behind)
