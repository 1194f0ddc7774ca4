"""One run: the task that drives an agent, what can stop it, and how it ends in the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from errors import AgentStreamError, InternalError, Interrupted, LogUnavailable, RunTimeout
from event_logs.base import Fenced
from events import RunEnd
from models import Run, RunStatus, now
from services.run_events import RunEvents

logger = logging.getLogger(__name__)

LET_GO_S = 1.0  # how long a stopped agent may take to clean up before the run ends without it
LOG_RETRY_S = 1.0  # how long an end that the log has refused waits for the next try

Work = Callable[[RunEvents], Awaitable[None]]
"""What an agent does in a run: write its events, and return when the answer is complete."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What a run is asked to be: `run` is how it stands before it begins. Times are in seconds.

    It begins when those that it is `behind` have ended.
    """

    run: Run
    work: Work
    request_id: str
    timeout_s: float
    grace_s: float
    behind: tuple["RunTask", ...] = ()


class RunTask:
    """A run in this process. It ends by itself, by `cancel`, `interrupt` or its timeout, or when nobody reads it."""

    def __init__(self, order: RunOrder, events: RunEvents, on_end: Callable[["RunTask"], None]) -> None:
        """`on_end` is called once, when the run has ended in the log."""
        loop = asyncio.get_running_loop()
        self._order = order
        self._events = events
        self._on_end = on_end
        self._begun = False
        self._finished_at: str | None = None
        self.readers = 0
        self._had_reader = False
        self._may_be_alone = order.run.on_disconnect == "continue"
        self._grace: asyncio.TimerHandle | None = None
        self._timeout: asyncio.TimerHandle | None = None
        self._stopper: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()
        self._task = loop.create_task(self._run(), name=self.run_id)
        self._expect_reader()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._order.run.run_id

    @property
    def session_id(self) -> str | None:
        """The session that the run belongs to."""
        return self._order.run.session_id

    @property
    def is_abandoned(self) -> bool:
        """Whether it has been read, and is no more."""
        return self._had_reader and self.readers == 0

    @property
    def is_ending(self) -> bool:
        """Whether it has been stopped, or has done its work."""
        return self._stopper is not None or self._ending is not None

    def cancel(self) -> None:
        """End the run as cancelled. Idempotent; nothing happens to a run that has ended."""
        self._stop_with(None)

    def interrupt(self) -> None:
        """End the run as failed, because the server stops."""
        self._stop_with(Interrupted())

    def attach(self) -> None:
        """A reader has come: the run is not left alone."""
        self.readers += 1
        self._had_reader = True
        self._end_grace()

    def detach(self) -> None:
        """A reader has gone. With `on_disconnect: cancel`, the last one's leaving starts the grace."""
        self.readers -= 1
        self._expect_reader()

    def give_up(self) -> None:
        """Who began it has gone for good: unless another reads it, or it may go on alone, it has no grace."""
        if self.readers == 0 and not self._may_be_alone:
            self.cancel()

    def keep_alone(self) -> None:
        """From now on a run without a reader goes on."""
        self._may_be_alone = True
        self._end_grace()

    def snapshot(self) -> Run:
        """How the run stands now."""
        events = self._events
        going = RunStatus.RUNNING if self._begun else RunStatus.QUEUED
        return self._order.run.model_copy(
            update={
                "status": RunStatus(events.end) if self._finished_at and events.end else going,
                "finished_at": self._finished_at,
                "last_seq": events.last_seq,
                "finish_reason": events.finish_reason,
                "usage": events.usage,
                "steps": events.steps,
                "error": events.error,
            }
        )

    def _expect_reader(self) -> None:
        if self.readers == 0 and not self._may_be_alone and self._finished_at is None:
            self._grace = asyncio.get_running_loop().call_later(self._order.grace_s, self.cancel)

    def _end_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    async def _run(self) -> None:
        error: AgentStreamError | None = None
        try:
            for other in self._order.behind:
                await other.ended.wait()
            self._order = replace(self._order, behind=())  # what they were is not kept
            self._begun = True
            self._timeout = asyncio.get_running_loop().call_later(self._order.timeout_s, self._time_out)
            await self._order.work(self._events)
        except AgentStreamError as failure:
            error = failure
        except Fenced:
            return  # the run has ended without its agent
        except Exception:
            logger.exception("run %s (request %s) failed", self.run_id, self._order.request_id)
            error = InternalError()
        self._end("succeeded" if error is None else "failed", error)

    def _time_out(self) -> None:
        self._stop_with(RunTimeout())

    def _stop_with(self, error: AgentStreamError | None) -> None:
        if self._stopper is None and self._ending is None:
            self._stopper = asyncio.create_task(self._stop(error), name=f"stop {self.run_id}")

    async def _stop(self, error: AgentStreamError | None) -> None:
        """End the run whether or not its agent lets go in time. One that has just ended by itself stays as it ended."""
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
            self._events.conclude(end, error, self._order.request_id)
            await self._commit_in_the_end()
        except Fenced:
            logger.warning("run %s was taken over", self.run_id)
        self._over()

    async def _commit_in_the_end(self) -> None:
        """Commit, however long the log refuses that. Raise `Fenced`."""
        while True:
            try:
                return await self._events.commit()
            except LogUnavailable:
                await asyncio.sleep(LOG_RETRY_S)

    def _over(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
        self._end_grace()
        self._finished_at = now()
        self._on_end(self)
        self.ended.set()
