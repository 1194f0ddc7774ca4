"""A run's turn in its session: it comes when the runs before it have ended, in this process or in the next."""

import asyncio
from collections.abc import Sequence

from services.runs.spec import EarlierRun


class RunTurn:
    """The turn of one run, behind others of its session. A run that is behind none has it from the beginning."""

    def __init__(self, behind: Sequence[EarlierRun]) -> None:
        self._behind = behind
        self._stays_queued = False
        self._is_decided = asyncio.Event()

    @property
    def is_awaited(self) -> bool:
        """Whether the run is queued."""
        return bool(self._behind)

    @property
    def is_held(self) -> bool:
        """Whether the turn can't come for now: a run before waits for a person, or the run stays queued."""
        return self._stays_queued or any(other.is_waiting for other in self._behind)

    async def wait(self) -> None:
        """Wait for the end of the runs before."""
        await asyncio.wait([other.ended for other in self._behind])
        self._behind = ()  # so that the other runs aren't kept in memory
        self._is_decided.set()

    def stay_queued(self) -> None:
        """Leave the turn to the next process."""
        self._stays_queued = True
        self._is_decided.set()

    def close(self) -> None:
        """Note that the run has ended."""
        self._is_decided.set()

    async def comes(self) -> bool:
        """Wait until it is known whether the turn comes in this process, and return whether it does."""
        if self.is_awaited:
            await self._is_decided.wait()
        return not self._stays_queued
