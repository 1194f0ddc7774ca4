"""One run: the task that drives an agent, what can stop it, and how it ends in the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from errors import AgentStreamError, InternalError, Interrupted, RunTimeout
from models import OnDisconnect, Run, RunStatus
from services.run_events import RunEvents

logger = logging.getLogger(__name__)

LET_GO_S = 1.0  # how long a stopped agent may take to clean up before the run ends without it

Work = Callable[[RunEvents], Awaitable[None]]
"""What an agent does in a run: write its events, and return when the answer is complete."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What a run is asked to be. Times are in seconds."""

    run_id: str
    model: str
    work: Work
    request_id: str
    timeout_s: float
    grace_s: float
    on_disconnect: OnDisconnect = "cancel"
    metadata: dict[str, str] | None = None


class RunTask:
    """A run in this process. It ends by itself, by `cancel`, `interrupt` or its timeout, or when nobody reads it."""

    def __init__(self, order: RunOrder, events: RunEvents, on_end: Callable[["RunTask"], None]) -> None:
        """`on_end` is called once, when the run has ended in the log."""
        loop = asyncio.get_running_loop()
        self._order = order
        self._events = events
        self._on_end = on_end
        self._created_at = _now()
        self._finished_at: str | None = None
        self._readers = 0
        self._may_be_alone = order.on_disconnect == "continue"
        self._grace: asyncio.TimerHandle | None = None
        self._timeout = loop.call_later(order.timeout_s, self._time_out)
        self._stopper: asyncio.Task[None] | None = None
        self._task = loop.create_task(self._run(), name=order.run_id)
        self._expect_reader()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._order.run_id

    def cancel(self) -> None:
        """End the run as cancelled. Idempotent; nothing happens to a run that has ended."""
        self._stop_with(None)

    def interrupt(self) -> None:
        """End the run as failed, because the server stops."""
        self._stop_with(Interrupted())

    def attach(self) -> None:
        """A reader has come: the run is not left alone."""
        self._readers += 1
        self._end_grace()

    def detach(self) -> None:
        """A reader has gone. With `on_disconnect: cancel`, the last one's leaving starts the grace."""
        self._readers -= 1
        self._expect_reader()

    def keep_alone(self) -> None:
        """From now on a run without a reader goes on."""
        self._may_be_alone = True
        self._end_grace()

    def snapshot(self) -> Run:
        """How the run stands now."""
        events = self._events
        return Run(
            run_id=self.run_id,
            status=RunStatus(events.end or RunStatus.RUNNING),
            model=self._order.model,
            created_at=self._created_at,
            finished_at=self._finished_at,
            last_seq=events.last_seq,
            on_disconnect=self._order.on_disconnect,
            metadata=self._order.metadata,
            finish_reason=events.finish_reason,
            usage=events.usage,
            steps=events.steps,
            error=events.error,
        )

    def _expect_reader(self) -> None:
        if self._readers == 0 and not self._may_be_alone and self._finished_at is None:
            self._grace = asyncio.get_running_loop().call_later(self._order.grace_s, self.cancel)

    def _end_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    async def _run(self) -> None:
        try:
            await self._order.work(self._events)
        except AgentStreamError as error:
            await self._fail(error)
        except Exception:
            logger.exception("run %s (request %s) failed", self.run_id, self._order.request_id)
            await self._fail(InternalError())
        else:
            await self._events.finish("succeeded")
        finally:
            if self._stopper is None:
                self._over()

    def _time_out(self) -> None:
        self._stop_with(RunTimeout())

    def _stop_with(self, error: AgentStreamError | None) -> None:
        if self._stopper is None and self._finished_at is None:
            self._stopper = asyncio.create_task(self._stop(error), name=f"stop {self.run_id}")

    async def _stop(self, error: AgentStreamError | None) -> None:
        """End the run whether or not its agent lets go in time. One that has just ended by itself stays as it ended."""
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=LET_GO_S)
        try:
            if self._events.end is None and error is None:
                await self._events.finish("cancelled")
            elif self._events.end is None and error is not None:
                await self._fail(error)
        finally:
            self._over()

    def _over(self) -> None:
        self._timeout.cancel()
        self._end_grace()
        self._finished_at = _now()
        self._on_end(self)

    async def _fail(self, error: AgentStreamError) -> None:
        logger.warning("run %s failed: %s (request %s)", self.run_id, error.code, self._order.request_id)
        await self._events.finish("failed", error, self._order.request_id)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
