"""Times out a wait that begins anew with every token, at the cost of an assignment."""

import asyncio
import math
from types import TracebackType
from typing import Self


class MovingDeadline:
    """`asyncio.timeout` for many short waits in a row.

    Wrap the code that waits, and call `within` before each wait and `lift` after it. If a wait takes too long, leaving
    the block raises TimeoutError.

    `asyncio.timeout` would cancel and make a timer for each wait. Here, moving the deadline only sets an attribute. One
    timer runs to an earlier deadline, checks then where the deadline is now, and is set again.
    """

    __slots__ = ("_loop", "_timeout", "_timer", "_when")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._when = math.inf

    def within(self, seconds: float) -> None:
        """Limit the wait that begins now to this time."""
        self._when = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._when:
            self._set_timer(self._when)

    def lift(self) -> None:
        """Remove the limit: the wait is over."""
        self._when = math.inf

    def expired(self) -> bool:
        """Whether a wait took too long."""
        return self._timeout.expired()

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._when <= self._loop.time():
            self._timeout.reschedule(self._when)  # which is now, so it cancels the wait
        elif self._when < math.inf:
            self._set_timer(self._when)

    async def __aenter__(self) -> Self:
        """Begin to watch the waits."""
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching, and turn the cancellation by an expired deadline into TimeoutError."""
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)
