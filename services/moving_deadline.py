"""A deadline that moves with every token, for the price of an assignment."""

import asyncio
import math
from types import TracebackType
from typing import Self


class MovingDeadline:
    """`asyncio.timeout` for many short waits in a row: one timer, which looks where the deadline is when it comes.

    Wrap the code that waits, call `within` before each wait and `lift` after it. When a wait takes longer, leaving the
    block raises TimeoutError.
    """

    __slots__ = ("_loop", "_timeout", "_timer", "_when")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._when = math.inf

    def within(self, seconds: float) -> None:
        """The wait that begins now may take so long."""
        self._when = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._when:
            self._look_at(self._when)

    def lift(self) -> None:
        """The wait is over."""
        self._when = math.inf

    def expired(self) -> bool:
        """Whether a wait has taken too long."""
        return self._timeout.expired()

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._when <= self._loop.time():
            self._timeout.reschedule(self._when)
        elif self._when < math.inf:
            self._look_at(self._when)

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching; turn the cancellation by an expired deadline into TimeoutError."""
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)
