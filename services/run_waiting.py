"""How a run waits: what it needs to go on is stored, the wait is told, the answers are taken, and it goes on."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from database.waiting_runs import WaitingRun
from errors import CapacityError, LogUnavailable, RunNotWaiting
from event_logs.base import EventWriter
from events import PendingCall, ToolResult
from models import Run
from services.run_events import RunEvents
from services.run_wait import Answer, Outcomes, RunWait, Suspension, asking, expiry

logger = logging.getLogger(__name__)

RETRY_S = 1.0  # how long what the log or the server has refused waits for the next try


class WaitKeeper(Protocol):
    """Who keeps the runs of this process."""

    def readmission(self) -> AbstractContextManager[None]:
        """Holds a place for the run that goes on inside. Raise a `CapacityError` where there is none."""

    async def store(self, run: Run, left_off: WaitingRun) -> None:
        """Make last what the run needs to go on, before it is told that it waits. Raise `StoreUnavailable`."""

    async def left_off(self, run_id: str) -> WaitingRun:
        """What was stored. Raise `StoreUnavailable`, or `RunNotWaiting` where there is nothing."""

    async def take_over(self, run_id: str) -> EventWriter:
        """See `EventLog`."""


class RunWaiting:
    """The waits of one run, one after the other. While it waits, the run holds little more than this.

    `go_on` is called when a wait is over, `changed` when one begins, is over, or has got an answer, and `lost` when it
    can never be over.
    """

    def __init__(
        self,
        run_id: str,
        events: RunEvents,
        keeper: WaitKeeper,
        go_on: Callable[[WaitingRun, Outcomes], None],
        changed: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._run_id = run_id
        self._events = events
        self._keeper = keeper
        self._go_on = go_on
        self._changed = changed
        self._lost = lost
        self._wait: RunWait | None = None
        self._closed = False
        self._lock = asyncio.Lock()
        self._expiry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_on(self) -> bool:
        """Whether the run waits."""
        return self._wait is not None and not self._closed

    @property
    def pending(self) -> list[PendingCall] | None:
        """The calls that it waits for, if it does."""
        return self._wait.pending if self._wait is not None and not self._closed else None

    def name_of(self, call_id: str) -> str | None:
        """The tool of a call that the run waits for."""
        return None if self._wait is None else self._wait.names.get(call_id)

    async def pending_since(self, seq: int) -> list[PendingCall] | None:
        """The calls that it waits for, if it does, or will at once, since it told so by the event of this number."""
        async with self._lock:
            return self.pending if self._wait is not None and self._wait.seq == seq else None

    async def begin(self, run: Run, suspension: Suspension, wait_s: float) -> None:
        """Make last what the run needs to go on, tell for what it waits, and wait. Raise a `CapacityError`."""
        async with self._lock:
            expires_at = expiry(wait_s)
            pending = [call.tool_call_id for call in suspension.pending]
            left_off = WaitingRun(run.run_id, pending, dict(suspension.request), dict(suspension.state), expires_at)
            await self._keeper.store(run, left_off)
            for event in asking(suspension.pending, expires_at):
                self._events.put(event)
            await self._events.commit()
            await self._events.rest()
            self.take_up(RunWait([call.told for call in suspension.pending], expires_at, self._events.last_seq))
            self._changed()

    def take_up(self, wait: RunWait) -> None:
        """Wait, as the log says already."""
        self._wait = wait
        self._expiry = asyncio.get_running_loop().call_later(wait.left_s, self._expired, wait)

    async def answer(self, answers: Sequence[Answer]) -> None:
        """Take the answers to calls; with the last of them the run goes on. Repeated ones change nothing.

        Raise `RunNotWaiting`, `ToolCallNotFound`, `ToolCallAnswered`, or a `CapacityError` and take none.
        """
        await asyncio.shield(self._beside(self._answer(answers)))

    async def close(self) -> None:
        """The run is to end: take no more answers, and have a writer that can tell its end.

        Raise `Fenced`, `RunNotFound` or `RunExpired` where there can be none.
        """
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        async with self._lock:
            while self._events.resting:
                try:
                    self._events.take_pen(await self._keeper.take_over(self._run_id))
                except LogUnavailable:
                    await asyncio.sleep(RETRY_S)

    async def _answer(self, answers: Sequence[Answer]) -> None:
        async with self._lock:
            if self._wait is None or self._closed:
                raise RunNotWaiting
            await self._take(self._wait, answers)

    async def _take(self, wait: RunWait, answers: Sequence[Answer]) -> None:
        new = wait.new(answers)
        if not new:
            return
        if not wait.over_with(new):
            await self._tell(new)
            wait.add(new)
            await self._events.rest()
            self._changed()
            return
        left_off = await self._keeper.left_off(self._run_id)
        with self._keeper.readmission():
            await self._tell(new)
            wait.add(new)
            await self._end(wait, left_off)
            self._changed()

    async def _tell(self, answers: Sequence[Answer]) -> None:
        """Commit the answers, or none of them. Raise `LogUnavailable`."""
        self._events.take_pen(await self._keeper.take_over(self._run_id))
        told = False
        try:
            for answer in answers:
                self._events.put(answer)
            await self._events.commit()
            told = True
        finally:
            if not told:
                await self._events.rest()
                for answer in answers:
                    if isinstance(answer, ToolResult):
                        self._events.reopen(answer.tool_call_id, answer.name)

    async def _end(self, wait: RunWait, left_off: WaitingRun) -> None:
        if self._closed:
            await self._events.rest()
            return
        self._wait = None
        if self._expiry is not None:
            self._expiry.cancel()
        self._go_on(left_off, wait.answers)

    def _expired(self, wait: RunWait) -> None:
        self._beside(self._refuse(wait))

    async def _refuse(self, wait: RunWait) -> None:
        """The time is up: refuse what is left, as soon as the log and the server take it."""
        while True:
            try:
                async with self._lock:
                    if self._wait is wait and not self._closed:
                        await self._take(wait, wait.refusals())
                    return
            except CapacityError:
                await asyncio.sleep(RETRY_S)
            except Exception:
                logger.exception("run %s has waited too long, and can't go on", self._run_id)
                self._lost()
                return

    def _beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"waiting {self._run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
