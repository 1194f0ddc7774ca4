"""One run: the task that drives an agent, what can stop it, what it waits for, and how it ends in the log."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

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
from services.runs.admission import Admission
from services.runs.readers import RunReaders
from services.runs.suspension import Answer, Resumption, Suspension
from services.runs.waiting import RETRY_S, AnswerInbox
from services.runs.write_behind import WriteBehind
from services.runs.writer import RunWriter
from settings import Settings

logger = logging.getLogger(__name__)

LET_GO_S = 1.0  # how long a stopped agent may take to clean up before the run ends without it


class Work(Protocol):
    """What an agent does in one run: write its events, up to the end of the answer or to a wait."""

    async def begin(self, events: RunWriter) -> Suspension | None:
        """Write the run's events. Return a `Suspension` if it has to wait, and raise the error that it fails with."""

    async def resume(self, resumption: Resumption, events: RunWriter) -> Suspension | None:
        """Continue after a wait. Return and raise as `begin` does."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run is asked to be: `run` is its state before it begins. Times are in seconds.

    It begins when the runs that it is `behind` have ended: all that were under way in its session.
    """

    run: Run
    work: Work
    request_id: str
    timeout_s: float
    grace_s: float
    wait_s: float
    behind: tuple["RunTask", ...] = ()

    @classmethod
    def within(
        cls, settings: Settings, run: Run, work: Work, request_id: str, behind: tuple["RunTask", ...] = ()
    ) -> "RunSpec":
        """Return an order with the operator's limits."""
        limits = settings.run_timeout_s, settings.disconnect_grace_s, settings.approval_timeout_s
        return cls(run, work, request_id, *limits, behind)


class RunTask:
    """A run in this process. It ends by itself, by `cancel`, `interrupt` or its timeout, or when nobody reads it.

    Of a run that a former process left open, `events` has replayed its log. If that process left it waiting, `inbox`
    has the wait, or `resumption` what to resume with.
    """

    def __init__(
        self,
        order: RunSpec,
        events: RunWriter,
        inbox: AnswerInbox,
        admission: Admission,
        write_behind: WriteBehind,
        resumption: Resumption | None = None,
    ) -> None:
        self._order = order
        self._events = events
        self._admission = admission
        self._write_behind = write_behind
        self._resumption = resumption
        self._finished_at: str | None = None
        alone = order.run.on_disconnect == "continue"
        self.readers = RunReaders(order.grace_s, self._abandon, may_be_alone=alone)
        self.inbox = inbox
        self._stays_queued = False
        self._turn_decided = asyncio.Event()
        self._timeout: asyncio.TimerHandle | None = None
        self._stopper: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if inbox.is_waiting:
            self.readers.pause()
        elif resumption is None:
            self.readers.begin_grace()
        self._task = asyncio.create_task(self._run(), name=self.run_id)
        self._changed()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._order.run.run_id

    @property
    def session_id(self) -> str | None:
        """The session that the run belongs to."""
        return self._order.run.session_id

    @property
    def status(self) -> RunStatus:
        """The run's present status."""
        if self._finished_at and self._events.end:
            return RunStatus(self._events.end)
        if self.is_waiting:
            return RunStatus.WAITING
        return RunStatus.QUEUED if self.is_queued else RunStatus.RUNNING

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a person or the caller's page."""
        return self.inbox.is_waiting and not self.is_ending

    @property
    def is_held(self) -> bool:
        """Whether nothing happens here for now: it waits for a person, is behind one that does, or stays queued."""
        if self.is_ending:
            return False
        return self.is_waiting or self._stays_queued or any(other.is_waiting for other in self._order.behind)

    @property
    def is_queued(self) -> bool:
        """Whether it waits for its turn."""
        return bool(self._order.behind)

    @property
    def is_ending(self) -> bool:
        """Whether it has been stopped, or has done its work."""
        return self._stopper is not None or self._ending is not None

    @property
    def has_ended(self) -> bool:
        """Whether its end is in the log."""
        return self._finished_at is not None

    def cancel(self) -> None:
        """End the run as cancelled. Idempotent; a run that has ended stays as it is."""
        self._stop_with(None)

    def interrupt(self) -> None:
        """End the run as failed, because the server stops. One that waits or is queued is left to the next process."""
        if self.is_queued:
            self.stay_queued()
        elif self.is_waiting:
            self._task.cancel()
        else:
            self._stop_with(Interrupted())

    def stay_queued(self) -> None:
        """Leave the turn of a queued run to the next process, which begins it; any other run goes on."""
        if self.is_queued and not self.is_ending:
            self._stays_queued = True
            self._turn_decided.set()
            self._task.cancel()

    async def has_turn(self) -> bool:
        """Wait until it is known whether a queued run's turn comes in this process; False if it does not."""
        if self.is_queued:
            await self._turn_decided.wait()
        return not self._stays_queued

    def _abandon(self) -> None:
        """End a run that has been without a reader for the grace. The grace of a held run begins with its turn."""
        if not self.is_held:
            self.cancel()

    def give_up(self) -> None:
        """End the run without a grace, since its caller left for good, unless it has a reader or needs none."""
        if self.readers.are_missing:
            self.cancel()

    def snapshot(self) -> Run:
        """Return the run's present state."""
        events = self._events
        return self._order.run.model_copy(
            update={
                "status": self.status,
                "finished_at": self._finished_at,
                "last_seq": events.last_seq,
                "pending": self.inbox.pending if self.is_waiting else None,
                "finish_reason": events.finish_reason,
                "usage": events.usage,
                "steps": events.steps,
                "error": events.error,
            }
        )

    async def answer(self, answers: Sequence[Answer]) -> None:
        """Take answers to the calls that the run waits for, also if the caller leaves. Raise as `AnswerInbox.take`."""
        taking = asyncio.create_task(self._take(answers), name=f"answer {self.run_id}")
        self._answering.add(taking)
        taking.add_done_callback(self._answering.discard)
        await asyncio.shield(taking)

    async def _take(self, answers: Sequence[Answer]) -> None:
        await self.inbox.take(answers)
        self._changed()

    # Working

    async def _run(self) -> None:
        error: AgentStreamError | None = None
        try:
            await self._work()
        except AgentStreamError as failure:
            error = failure
        except Fenced:
            return  # the run has ended without its agent
        except Exception:
            logger.exception("run %s (request %s) failed", self.run_id, self._order.request_id)
            error = InternalError()
        self._end("succeeded" if error is None else "failed", error)

    async def _work(self) -> None:
        """Work until the answer is complete, through all waits."""
        resumption, self._resumption = self._resumption, None
        if self._order.behind:
            await self._turn()
        if self.inbox.is_waiting:
            resumption = await self._answered()
        while (suspension := await self._leg(resumption)) is not None:
            await self.inbox.begin(self.snapshot(), suspension, self._order.wait_s)
            self.readers.pause()
            self._changed()
            del suspension, resumption  # they hold the conversation, which a waiting run does not keep in memory
            resumption = await self._answered()

    async def _leg(self, resumption: Resumption | None) -> Suspension | None:
        """Work from the beginning or from a wait, up to the next wait or the end, within the run's timeout."""
        self._timeout = asyncio.get_running_loop().call_later(self._order.timeout_s, self._time_out)
        if resumption is None:
            suspension = await self._order.work.begin(self._events)
        else:
            suspension = await self._order.work.resume(resumption, self._events)
        self._timeout.cancel()
        return suspension

    async def _answered(self) -> Resumption:
        resumption = await self.inbox.resumption()
        self.readers.resume()
        self._changed()
        return resumption

    async def _turn(self) -> None:
        await asyncio.wait([other.ended for other in self._order.behind])
        self._order = replace(self._order, behind=())  # the other runs are not kept in memory
        self._turn_decided.set()
        self.readers.begin_grace()
        self._changed()

    def _changed(self) -> None:
        """Count the run by its status, and record it."""
        if self.has_ended:
            self._admission.forget(self.run_id)
        else:
            self._admission.note(self.run_id, self.status)
        self._write_behind.save(self.run_id, self.snapshot)

    # Ending

    def _time_out(self) -> None:
        self._stop_with(RunTimeout())

    def _stop_with(self, error: AgentStreamError | None) -> None:
        if not self.is_ending:
            self._stopper = asyncio.create_task(self._stop(error), name=f"stop {self.run_id}")

    async def _stop(self, error: AgentStreamError | None) -> None:
        """End the run whether or not its agent stops in time. A run that has just ended by itself stays as it ended."""
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=LET_GO_S)
        self._end("cancelled" if error is None else "failed", error)

    def _end(self, end: RunEnd, error: AgentStreamError | None) -> None:
        """Begin to end the run in the log, in a task that nothing stops. The first call decides how it ends."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._write_end(end, error), name=f"end {self.run_id}")

    async def _write_end(self, end: RunEnd, error: AgentStreamError | None) -> None:
        if error is not None:
            logger.warning("run %s failed: %s (request %s)", self.run_id, error.code, self._order.request_id)
        try:
            await self.inbox.close()
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
        if self._timeout is not None:
            self._timeout.cancel()
        self.readers.pause()
        self._finished_at = now()
        self._changed()
        self.ended.set_result(None)
