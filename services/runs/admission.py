"""Limits the number of runs in this process: counts them by status and refuses new ones above the limits."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from errors import ServerDraining, ServerFull
from run_models import RunStatus
from services.runs.write_behind import WriteBehind

RETRY_AFTER_S = 5  # what a refused client is asked to wait


class Admission:
    """Counts the runs of this process and refuses those above its limits. Make it in a running loop.

    `max_running` runs may work at the same time, and `max_waiting` may wait for a person or for their turn.
    """

    def __init__(self, write_behind: WriteBehind, *, max_running: int, max_waiting: int) -> None:
        self._write_behind = write_behind
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._statuses: dict[str, RunStatus] = {}
        self._running = 0
        self._queued = 0
        self._starting = 0  # places held for runs that have no status yet
        self._changed = asyncio.Event()
        self.draining = False

    @property
    def running(self) -> int:
        """The number of runs that wait neither for a person nor for their turn."""
        return self._running

    def admit(self) -> None:
        """Raise a `CapacityError` if this server can't take a new run now."""
        self._check_place()
        if len(self._statuses) - self._running >= self._max_waiting:
            raise ServerFull("Too many runs wait for a person, or for their turn.", retry_after=RETRY_AFTER_S)

    def check_queue(self) -> None:
        """Raise `ServerFull` if as many runs are queued as may work at the same time.

        A queued run holds its request in memory, so it has a lower limit than a run that waits for a person.
        """
        if self._queued >= self._max_running:
            raise ServerFull("Too many runs wait for their turn.", retry_after=RETRY_AFTER_S)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a new run, which the caller notes inside. Raise as `admit` does."""
        self.admit()
        with self._held():
            yield

    @contextmanager
    def place_again(self) -> Iterator[None]:
        """Hold a place for a run that has waited, which the caller notes inside. Raise a `CapacityError`."""
        self._check_place()
        with self._held():
            yield

    def note(self, run_id: str, status: RunStatus) -> None:
        """Count a run by its present status."""
        self._count(self._statuses.get(run_id), -1)
        self._statuses[run_id] = status
        self._count(status, 1)
        self._changed.set()

    def forget(self, run_id: str) -> None:
        """Stop counting a run that has ended."""
        self._count(self._statuses.pop(run_id, None), -1)
        self._changed.set()

    async def change(self) -> None:
        """Wait until a run's status changes. Only the drain waits here, so it may clear the event."""
        self._changed.clear()
        await self._changed.wait()

    def _count(self, status: RunStatus | None, change: int) -> None:
        if status == RunStatus.RUNNING:
            self._running += change
        elif status == RunStatus.QUEUED:
            self._queued += change

    def _check_place(self) -> None:
        if self.draining:
            raise ServerDraining(retry_after=RETRY_AFTER_S)
        if self._running + self._starting >= self._max_running:
            raise ServerFull(retry_after=RETRY_AFTER_S)
        self._write_behind.check()

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Count a place as taken while the run starts: several starts may await at the same time."""
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1
