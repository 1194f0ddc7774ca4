"""Runs that a former process left waiting, for a person or for their turn, and that go on in this one."""

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple
from uuid import uuid4

from database.waiting_runs import QueuedRun, WaitingRun
from models import Run
from services.live_runs import LiveRuns
from services.run_events import RunEvents
from services.run_task import RunOrder, RunTask, Work
from services.run_wait import Outcomes, RunWait
from services.run_work import RunWork
from settings import Settings


class LeftWaiting(NamedTuple):
    """A run that waits for a person, and whose process is gone.

    Where the wait is over, the process went while it made the calls: `outcomes` are what they have come to, and
    `left_off` is where the run goes on.
    """

    run: Run
    events: RunEvents
    wait: RunWait
    left_off: WaitingRun | None
    outcomes: Outcomes


class LeftQueued(NamedTuple):
    """A run that waits for its turn, and whose process is gone."""

    run: Run
    events: RunEvents
    stored: QueuedRun


LeftRun = LeftWaiting | LeftQueued


class LeftRuns:
    """Takes up the runs that a former process left."""

    def __init__(self, settings: Settings, live: LiveRuns, work: RunWork) -> None:
        self._settings = settings
        self._live = live
        self._work = work

    async def restore(self, left: Iterable[LeftRun]) -> None:
        """Keep the runs that wait, go on with those whose wait is over, and queue the others behind them.

        A session's turns are taken in the order in which they were asked for. Raise `LogUnavailable`.
        """
        queued = []
        for run in left:
            if isinstance(run, LeftQueued):
                queued.append(run)
            else:
                await self._restore_waiting(run)
        for run in sorted(queued, key=lambda run: run.stored.position):
            await self._restore_queued(run)

    async def _restore_waiting(self, left: LeftWaiting) -> None:
        work = None if left.left_off is None else self._work.resumed(left.run, left.left_off, left.outcomes)
        left.events.go_on(self._settings.max_output_bytes)
        await self._live.restore(self._order(left.run, work), left.events, left.wait)

    async def _restore_queued(self, left: LeftQueued) -> None:
        assert left.run.session_id is not None
        work = self._work.queued(left.run, left.stored.request)
        behind = self._live.of_session(left.run.session_id)
        left.events.go_on(self._settings.max_output_bytes)
        await self._live.restore(self._order(left.run, work, behind), left.events)

    def _order(self, run: Run, work: Work | None, behind: tuple[RunTask, ...] = ()) -> RunOrder:
        resume = partial(self._work.resumed, run)
        return RunOrder.within(self._settings, run, work, resume, f"req_{uuid4().hex}", behind)
