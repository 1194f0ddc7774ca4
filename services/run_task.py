"""One run: the task that drives an agent, what can stop it, what it waits for, and how it ends in the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from database.waiting_runs import WaitingRun
from errors import (
    AgentStreamError,
    InternalError,
    Interrupted,
    LogUnavailable,
    RunExpired,
    RunNotFound,
    RunTimeout,
)
from event_logs.base import Fenced
from events import RunEnd
from models import Run, RunStatus, now
from services.run_events import RunEvents
from services.run_presence import RunPresence
from services.run_wait import Outcomes, RunWait, Suspension
from services.run_waiting import RETRY_S, RunWaiting, WaitKeeper
from settings import Settings

logger = logging.getLogger(__name__)

LET_GO_S = 1.0  # how long a stopped agent may take to clean up before the run ends without it

Work = Callable[[RunEvents], Awaitable[Suspension | None]]
"""What an agent does in a run: write its events, and return when the answer is complete, or when it has to wait."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What a run is asked to be: `run` is how it stands before it begins. Times are in seconds.

    It begins when those that it is `behind` have ended: all that were going in its session. `resume` gives the work
    that follows a wait; a run that waits has no work.
    """

    run: Run
    work: Work | None
    resume: Callable[[WaitingRun, Outcomes], Work]
    request_id: str
    timeout_s: float
    grace_s: float
    wait_s: float
    behind: tuple["RunTask", ...] = ()

    @classmethod
    def within(
        cls,
        settings: Settings,
        run: Run,
        work: Work | None,
        resume: Callable[[WaitingRun, Outcomes], Work],
        request_id: str,
        behind: tuple["RunTask", ...] = (),
    ) -> "RunOrder":
        """With the operator's bounds."""
        bounds = settings.run_timeout_s, settings.disconnect_grace_s, settings.approval_timeout_s
        return cls(run, work, resume, request_id, *bounds, behind)


class Keeper(WaitKeeper, Protocol):
    """Who keeps the runs of this process, and is told how they go."""

    def changed(self, task: "RunTask") -> None:
        """The run has begun to wait, goes on, has got an answer, or has ended in the log."""


class RunTask:
    """A run in this process. It ends by itself, by `cancel`, `interrupt` or its timeout, or when nobody reads it."""

    def __init__(self, order: RunOrder, events: RunEvents, keeper: Keeper, wait: RunWait | None = None) -> None:
        """Of a run that a former process left open, `events` has taken over what is in its log.

        With `wait`, that process left it waiting; where that wait is over it works, and need not have a reader.
        """
        self._order = order
        self._events = events
        self._keeper = keeper
        self._finished_at: str | None = None
        alone = order.run.on_disconnect == "continue"
        self._presence = RunPresence(order.grace_s, self._abandon, may_be_alone=alone)
        self._stays_queued = False
        self._turn_decided = asyncio.Event()
        self._timeout: asyncio.TimerHandle | None = None
        self._stopper: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self.waiting = RunWaiting(
            self.run_id, events, keeper, self._go_on, changed=lambda: keeper.changed(self), lost=self._lose
        )
        if wait is not None and not wait.is_over:
            self.waiting.take_up(wait)
            return
        self._work()
        if wait is None:
            self._presence.begin_grace()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._order.run.run_id

    @property
    def session_id(self) -> str | None:
        """The session that the run belongs to."""
        return self._order.run.session_id

    @property
    def readers(self) -> int:
        """How many read it now."""
        return self._presence.readers

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a person, and nothing goes on."""
        return self.waiting.is_on and not self.is_ending

    @property
    def is_held(self) -> bool:
        """Whether nothing goes on here for now: it waits for a person, is behind one that does, or stays queued."""
        if self.is_ending:
            return False
        return self.is_waiting or self._stays_queued or any(other.is_waiting for other in self._order.behind)

    @property
    def is_queued(self) -> bool:
        """Whether it waits for its turn."""
        return bool(self._order.behind)

    @property
    def is_abandoned(self) -> bool:
        """Whether it has been read, and is no more. One that waits for a person has time."""
        return self._presence.had_reader and self._presence.readers == 0 and not self.is_waiting

    @property
    def is_ending(self) -> bool:
        """Whether it has been stopped, or has done its work."""
        return self._stopper is not None or self._ending is not None

    @property
    def has_ended(self) -> bool:
        """Whether its end is in the log."""
        return self._finished_at is not None

    def cancel(self) -> None:
        """End the run as cancelled. Idempotent; nothing happens to a run that has ended."""
        self._stop_with(None)

    def interrupt(self) -> None:
        """End the run as failed, because the server stops. One that waits, or is queued, stays so without a server."""
        if self.is_queued:
            self.stay_queued()
        elif not self.is_waiting:
            self._stop_with(Interrupted())

    def stay_queued(self) -> None:
        """Leave the turn of a queued run to the next process, which begins it; any other run goes on."""
        if self.is_queued and not self.is_ending and self._task is not None:
            self._stays_queued = True
            self._turn_decided.set()
            self._task.cancel()

    async def has_turn(self) -> bool:
        """Wait until it is known whether a queued run's turn comes in this process; False where it does not."""
        if self.is_queued:
            await self._turn_decided.wait()
        return not self._stays_queued

    def attach(self) -> None:
        """A reader has come: the run is not left alone."""
        self._presence.attach()

    def detach(self) -> None:
        """A reader has gone. With `on_disconnect: cancel`, the last one's leaving starts the grace."""
        self._presence.detach()
        if not (self.has_ended or self.is_waiting):
            self._presence.begin_grace()

    def _abandon(self) -> None:
        """The grace is over. A run that is held costs nothing: its grace begins with its turn."""
        if not self.is_held:
            self.cancel()

    def give_up(self) -> None:
        """Who began it has gone for good: unless another reads it, or it may go on alone, it has no grace."""
        if self._presence.is_needed and not self.is_waiting:
            self.cancel()

    def keep_alone(self) -> None:
        """From now on a run without a reader goes on."""
        self._presence.keep_alone()

    def snapshot(self) -> Run:
        """How the run stands now."""
        events = self._events
        going = RunStatus.WAITING if self.is_waiting else RunStatus.QUEUED if self.is_queued else RunStatus.RUNNING
        return self._order.run.model_copy(
            update={
                "status": RunStatus(events.end) if self._finished_at and events.end else going,
                "finished_at": self._finished_at,
                "last_seq": events.last_seq,
                "pending": self.waiting.pending if self.is_waiting else None,
                "finish_reason": events.finish_reason,
                "usage": events.usage,
                "steps": events.steps,
                "error": events.error,
            }
        )

    # Waiting

    async def _suspend(self, suspension: Suspension) -> None:
        await self.waiting.begin(self.snapshot(), suspension, self._order.wait_s)
        self._order = replace(self._order, work=None)  # and with it the request, which may be long
        self._end_timeout()
        self._presence.end_grace()

    def _go_on(self, left_off: WaitingRun, outcomes: Outcomes) -> None:
        """Without a reader, too: who has answered wants it."""
        if not self.is_ending:
            self._presence.expect_nobody()
            self._order = replace(self._order, work=self._order.resume(left_off, outcomes))
            self._work()

    # Working

    def _work(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.run_id)

    async def _run(self) -> None:
        error: AgentStreamError | None = None
        try:
            if self._order.behind:
                await self._turn()
            self._timeout = asyncio.get_running_loop().call_later(self._order.timeout_s, self._time_out)
            assert self._order.work is not None
            suspension = await self._order.work(self._events)
            if suspension is not None:
                await self._suspend(suspension)
                return
        except AgentStreamError as failure:
            error = failure
        except Fenced:
            return  # the run has ended without its agent
        except Exception:
            logger.exception("run %s (request %s) failed", self.run_id, self._order.request_id)
            error = InternalError()
        self._end("succeeded" if error is None else "failed", error)

    async def _turn(self) -> None:
        for other in self._order.behind:
            await other.ended.wait()
        self._order = replace(self._order, behind=())  # what they were is not kept
        self._turn_decided.set()
        self._presence.begin_grace()
        self._keeper.changed(self)

    def _end_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()

    # Ending

    def _time_out(self) -> None:
        self._stop_with(RunTimeout())

    def _lose(self) -> None:
        self._stop_with(InternalError())

    def _stop_with(self, error: AgentStreamError | None) -> None:
        if not self.is_ending:
            self._stopper = asyncio.create_task(self._stop(error), name=f"stop {self.run_id}")

    async def _stop(self, error: AgentStreamError | None) -> None:
        """End the run whether or not its agent lets go in time. One that has just ended by itself stays as it ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=LET_GO_S)
        self._end("cancelled" if error is None else "failed", error)

    def _end(self, end: RunEnd, error: AgentStreamError | None) -> None:
        """Begin to end the run in the log, in a task that nothing stops. The first who says how it ends decides."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._write_end(end, error), name=f"end {self.run_id}")

    async def _write_end(self, end: RunEnd, error: AgentStreamError | None) -> None:
        if error is not None:
            logger.warning("run %s failed: %s (request %s)", self.run_id, error.code, self._order.request_id)
        try:
            await self.waiting.close()
            self._events.conclude(end, error, self._order.request_id)
            await self._commit_in_the_end()
        except (Fenced, RunNotFound, RunExpired):
            logger.warning("the log of run %s is another's, or gone", self.run_id)
        self._over()

    async def _commit_in_the_end(self) -> None:
        """Commit, however long the log refuses that. Raise `Fenced`."""
        while True:
            try:
                return await self._events.commit()
            except LogUnavailable:
                await asyncio.sleep(RETRY_S)

    def _over(self) -> None:
        self._turn_decided.set()
        self._end_timeout()
        self._presence.end_grace()
        self._finished_at = now()
        self._keeper.changed(self)
        self.ended.set()
