"""How a run waits: what it needs to go on is stored, the wait is told, the answers are taken, and it goes on."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol

from errors import CapacityError, LogUnavailable, RunNotWaiting
from event_logs.base import EventWriter
from events import PendingCall, ToolResult
from models import Run
from services.run_events import RunEvents
from services.run_wait import Answer, Outcomes, RunWait, Suspension, asking, expiry

RETRY_S = 1.0  # how long what the log or the server has refused waits for the next try


class WaitKeeper(Protocol):
    """Who keeps the runs of this process."""

    def admit(self) -> None:
        """Raise a `CapacityError` where a run that has waited can't go on now."""

    async def store(self, run: Run, suspension: Suspension, expires_at: str) -> None:
        """Make last what the run needs to go on, before it is told that it waits. Raise `StoreUnavailable`."""

    async def take_over(self, run_id: str) -> EventWriter:
        """See `EventLog`."""


class RunWaiting:
    """The waits of one run, one after the other. While it waits it holds nothing but this.

    `go_on` is called when a wait is over, and `changed` when one begins, is over, or has got an answer.
    """

    def __init__(
        self,
        run_id: str,
        events: RunEvents,
        keeper: WaitKeeper,
        go_on: Callable[[Outcomes], None],
        changed: Callable[[], None],
    ) -> None:
        self._run_id = run_id
        self._events = events
        self._keeper = keeper
        self._go_on = go_on
        self._changed = changed
        self._wait: RunWait | None = None
        self._closed = False
        self._answers: dict[str, Answer] = {}  # of waits that are over
        self._names: dict[str, str] = {}
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
        """The tool of a call that waits or has waited for its answer."""
        return self._names.get(call_id)

    async def begin(self, run: Run, suspension: Suspension, wait_s: float) -> None:
        """Make last what the run needs to go on, tell for what it waits, and wait. Raise a `CapacityError`."""
        async with self._lock:
            expires_at = expiry(wait_s)
            await self._keeper.store(run, suspension, expires_at)
            for event in asking(suspension.pending, expires_at):
                self._events.put(event)
            await self._events.commit()
            await self._events.rest()
            self.take_up(RunWait([call.told for call in suspension.pending], expires_at))
            self._changed()

    def take_up(self, wait: RunWait) -> None:
        """Wait, as the log says already."""
        self._wait = wait
        self._names |= wait.names
        self._expiry = asyncio.get_running_loop().call_later(wait.left_s, self._expired, wait)

    async def is_settled(self) -> bool:
        """Whether the run waits by now, or will when what it has begun to tell is told."""
        async with self._lock:
            return self.is_on

    async def answer(self, answers: Sequence[Answer]) -> None:
        """Take the answers to calls; with the last of them the run goes on. Repeated ones change nothing.

        Raise `RunNotWaiting`, `ToolCallNotFound`, `ToolCallAnswered`, or a `CapacityError` and take none.
        """
        await asyncio.shield(self._beside(self._take(answers)))

    async def close(self) -> None:
        """The run is to end: take no more answers, and have a writer that can tell its end. Raise `Fenced`."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        async with self._lock:
            while self._events.resting:
                try:
                    self._events.take_pen(await self._keeper.take_over(self._run_id))
                except LogUnavailable:
                    await asyncio.sleep(RETRY_S)

    async def _take(self, answers: Sequence[Answer]) -> None:
        async with self._lock:
            wait = self._wait
            if wait is None or self._closed:
                if all(self._answers.get(answer.tool_call_id) == answer for answer in answers):
                    return
                raise RunNotWaiting
            if not (new := wait.new(answers)):
                return
            if wait.over_with(new):
                self._keeper.admit()
            await self._tell(new)
            wait.add(new)
            if wait.is_over and not self._closed:
                self._end(wait)
            else:
                await self._events.rest()
            self._changed()

    async def _tell(self, answers: Sequence[Answer]) -> None:
        """Commit the answers, or none of them. Raise `LogUnavailable`."""
        self._events.take_pen(await self._keeper.take_over(self._run_id))
        for answer in answers:
            self._events.put(answer)
        try:
            await self._events.commit()
        except LogUnavailable:
            await self._events.rest()
            for answer in answers:
                if isinstance(answer, ToolResult):
                    self._events.reopen(answer.tool_call_id, answer.name)
            raise

    def _end(self, wait: RunWait) -> None:
        self._wait = None
        if self._expiry is not None:
            self._expiry.cancel()
        self._answers |= wait.answers
        self._go_on(wait.answers)

    def _expired(self, wait: RunWait) -> None:
        self._beside(self._refuse(wait))

    async def _refuse(self, wait: RunWait) -> None:
        """The time is up: refuse what is left, as soon as the log and the server take it."""
        while self._wait is wait and not self._closed:
            with suppress(RunNotWaiting, CapacityError):
                await self._take(wait.refusals())
                return
            await asyncio.sleep(RETRY_S)

    def _beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"waiting {self._run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
