"""Whether anybody reads a run, and what becomes of one that is left alone."""

import asyncio
from collections.abc import Callable


class RunPresence:
    """The readers of one run. `left` is called once it has had none for `grace_s` seconds, unless it may be alone."""

    def __init__(self, grace_s: float, left: Callable[[], None], *, may_be_alone: bool) -> None:
        self._grace_s = grace_s
        self._left = left
        self._may_be_alone = may_be_alone
        self._grace: asyncio.TimerHandle | None = None
        self.readers = 0
        self.had_reader = False

    @property
    def is_needed(self) -> bool:
        """Whether the run has no reader, and shall have one."""
        return self.readers == 0 and not self._may_be_alone

    def attach(self) -> None:
        """A reader has come."""
        self.readers += 1
        self.had_reader = True
        self.end_grace()

    def detach(self) -> None:
        """A reader has gone."""
        self.readers -= 1

    def expect_nobody(self) -> None:
        """Who isn't there now has not left it: the run goes on, until a reader that comes leaves."""
        self.had_reader = self.readers > 0

    def keep_alone(self) -> None:
        """From now on a run without a reader goes on."""
        self._may_be_alone = True
        self.end_grace()

    def begin_grace(self) -> None:
        """Unless a reader comes in time, the run is left."""
        if self.is_needed and self._grace is None:
            self._grace = asyncio.get_running_loop().call_later(self._grace_s, self._end)

    def _end(self) -> None:
        self._grace = None
        self._left()

    def end_grace(self) -> None:
        """Nobody has to come."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
