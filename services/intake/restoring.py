"""Restores the runs that a former process left waiting, for answers or for their turn."""

import logging
from collections.abc import Iterable, Sequence

from models import new_request_id
from run_models import Run
from services.intake.work import WorkFactory
from services.runs.live import LiveRuns
from services.runs.recovery import RestorableRun, RestorableTurn, RestorableWait
from services.runs.spec import EarlierRun, RunSpec, Work
from settings import Settings

logger = logging.getLogger(__name__)


class RunRestorer:
    """Makes live runs again of those that recovery found waiting."""

    def __init__(self, settings: Settings, live: LiveRuns, work: WorkFactory) -> None:
        self._settings = settings
        self._live = live
        self._work = work

    async def restore(self, runs: Iterable[RestorableRun]) -> None:
        """Restore runs in their wait, resume those that have all their answers, and queue the others behind them.

        A session's queued runs keep their order. Raise `LogUnavailable`.
        """
        queued, waiting = [], 0
        for run in runs:
            if isinstance(run, RestorableTurn):
                queued.append(run)
            else:
                await self._restore_waiting(run)
                waiting += 1
        for run in sorted(queued, key=lambda run: run.stored.position):
            await self._restore_queued(run)
        if waiting or queued:
            logger.info("runs restored from before the restart: %d suspended, %d queued", waiting, len(queued))

    async def _restore_waiting(self, waiting: RestorableWait) -> None:
        waiting.writer.continue_within(self._settings.max_output_bytes)
        spec = self._spec(waiting.run, self._work.suspended(waiting.run))
        await self._live.restore(spec, waiting.writer, waiting.wait, waiting.resumption)

    async def _restore_queued(self, queued: RestorableTurn) -> None:
        assert queued.run.session_key is not None
        queued.writer.continue_within(self._settings.max_output_bytes)
        work = self._work.queued(queued.run, queued.stored.request)
        spec = self._spec(queued.run, work, self._live.of_session(queued.run.session_key))
        await self._live.restore(spec, queued.writer)

    def _spec(self, run: Run, work: Work, behind: Sequence[EarlierRun] = ()) -> RunSpec:
        return RunSpec.within(self._settings, run, work, new_request_id(), behind)
