"""One run: the task that drives an agent, what can stop it, and how it ends in the log."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

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

    def __init__(self, order: RunOrder, events: RunEvents) -> None:
        self._order = order
        self._events = events
        self._created_at = _now()
        self._finished_at: str | None = None
        self._stop: asyncio.Future[AgentStreamError | None] = asyncio.get_running_loop().create_future()
        self._readers = 0
        self._grace: asyncio.TimerHandle | None = None
        self._task = asyncio.create_task(self._drive(), name=order.run_id)
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

    async def wait(self) -> None:
        """Return when the run has ended in the log."""
        await asyncio.shield(self._task)

    def on_end(self, call: Callable[[], object]) -> None:
        """Call this when the run has ended in the log."""
        self._task.add_done_callback(lambda _: call())

    def attach(self) -> None:
        """A reader has come: the run is not left alone."""
        self._readers += 1
        self.suspend_grace()

    def detach(self) -> None:
        """A reader has gone. With `on_disconnect: cancel`, the last one's leaving starts the grace."""
        self._readers -= 1
        self._expect_reader()

    def suspend_grace(self) -> None:
        """Stop counting the time without a reader."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

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

    def _stop_with(self, error: AgentStreamError | None) -> None:
        if not self._stop.done():
            self._stop.set_result(error)

    def _expect_reader(self) -> None:
        if self._readers == 0 and self._order.on_disconnect == "cancel" and not self._stop.done():
            self._grace = asyncio.get_running_loop().call_later(self._order.grace_s, self.cancel)

    async def _drive(self) -> None:
        work = asyncio.ensure_future(self._order.work(self._events))
        try:
            ends: set[asyncio.Future[Any]] = {work, self._stop}
            await asyncio.wait(ends, timeout=self._order.timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await self._finish_as(work)
            else:
                await self._finish_without(work)
        finally:
            work.cancel()
            self._stop.cancel()
            self.suspend_grace()
            self._finished_at = _now()

    async def _finish_as(self, work: asyncio.Future[None]) -> None:
        match work.exception() if not work.cancelled() else asyncio.CancelledError():
            case None:
                await self._events.finish("succeeded")
            case AgentStreamError() as error:
                await self._fail(error)
            case error:
                logger.error("run %s (request %s) failed", self.run_id, self._order.request_id, exc_info=error)
                await self._fail(InternalError())

    async def _finish_without(self, work: asyncio.Future[None]) -> None:
        error = self._stop.result() if self._stop.done() else RunTimeout()
        work.cancel()
        await asyncio.wait({work}, timeout=LET_GO_S)
        if error is None:
            await self._events.finish("cancelled")
        else:
            await self._fail(error)

    async def _fail(self, error: AgentStreamError) -> None:
        logger.warning("run %s failed: %s (request %s)", self.run_id, error.code, self._order.request_id)
        await self._events.finish("failed", error, self._order.request_id)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
