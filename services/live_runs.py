"""The runs of this process: admitted, launched, followed, drained."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress

from errors import LogUnavailable, ServerDraining, ServerFull
from event_logs.base import EventLog
from events import RunStarted
from services.run_events import RunEvents
from services.run_records import RunRecords
from services.run_task import RunOrder, RunTask
from settings import Settings

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 5
LAST_WORDS_S = 2.0  # what is left of the drain when the readers have to leave
END_S = 2.0  # how long ending the last runs may take


class Readers:
    """How many streams are being read; `none` is set while there are none."""

    def __init__(self) -> None:
        self._count = 0
        self.none = asyncio.Event()
        self.none.set()

    def add(self, change: int) -> None:
        """One more, or one less."""
        self._count += change
        (self.none.clear if self._count else self.none.set)()


class RunStream:
    """A run's frames from some event on. Enter it to read them: from then until it is left, the run has this reader."""

    def __init__(
        self, run_id: str, frames: AsyncGenerator[bytes, None], task: RunTask | None, readers: Readers
    ) -> None:
        self.run_id = run_id
        self.frames = frames
        self._task = task
        self._readers = readers

    async def __aenter__(self) -> AsyncGenerator[bytes, None]:
        """The frames, in pages."""
        self._readers.add(1)
        if self._task is not None:
            self._task.attach()
        return self.frames

    async def __aexit__(self, *_: object) -> None:
        """The reader has left."""
        self._readers.add(-1)
        if self._task is not None:
            self._task.detach()
            self._task = None
        await self.frames.aclose()


class LiveRuns:
    """The runs that this process drives. Make it in a running loop; `aclose` ends what is still going."""

    def __init__(self, settings: Settings, log: EventLog, records: RunRecords) -> None:
        self._settings = settings
        self._log = log
        self._records = records
        self._tasks: dict[str, RunTask] = {}
        self._sessions: dict[str, list[RunTask]] = {}
        self._starting = 0
        self._none = asyncio.Event()
        self._none.set()
        self._readers = Readers()
        self.draining = False
        self.readers_must_leave = asyncio.Event()

    @property
    def tasks(self) -> tuple[RunTask, ...]:
        """The runs that have not ended, in the order in which they began."""
        return tuple(self._tasks.values())

    def get(self, run_id: str) -> RunTask | None:
        """A run that has not ended."""
        return self._tasks.get(run_id)

    def of_session(self, session_id: str) -> tuple[RunTask, ...]:
        """The session's runs that have not ended, in the order in which they began."""
        return tuple(self._sessions.get(session_id, ()))

    def stream(self, run_id: str, after: int) -> RunStream:
        """A run's frames from event `after + 1` on."""
        return RunStream(run_id, self._log.read(run_id, after), self._tasks.get(run_id), self._readers)

    def admit(self) -> None:
        """Raise a `CapacityError` if this server can't take a run now."""
        if self.draining:
            raise ServerDraining(retry_after=RETRY_AFTER_S)
        if len(self._tasks) + self._starting >= self._settings.max_concurrent_runs:
            raise ServerFull(retry_after=RETRY_AFTER_S)
        self._records.check()

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Holds a place for the run that is started inside. Raise as `admit` does."""
        self.admit()
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1

    async def launch(self, order: RunOrder) -> RunTask:
        """Begin a run: `run_started` is committed. Raise `LogUnavailable`, and leave nothing behind."""
        run = order.run
        events = RunEvents(await self._log.create(run.run_id), self._settings.max_output_bytes)
        events.put(RunStarted(model=run.model, session_id=run.session_id))
        try:
            await events.commit()
        except LogUnavailable:
            with suppress(LogUnavailable):
                await self._log.delete(run.run_id)
            raise
        task = self._tasks[run.run_id] = RunTask(order, events, self._ended)
        if run.session_id is not None:
            self._sessions.setdefault(run.session_id, []).append(task)
        self._none.clear()
        self._records.save(run.run_id, task.snapshot)
        return task

    def _ended(self, task: RunTask) -> None:
        del self._tasks[task.run_id]
        if task.session_id is not None:
            self._sessions[task.session_id].remove(task)
            if not self._sessions[task.session_id]:
                del self._sessions[task.session_id]
        self._records.save(task.run_id, task.snapshot)
        if not self._tasks:
            self._none.set()

    async def drain(self) -> None:
        """Take no new runs, let those under way end and be read, and end what is left before time is up."""
        self.draining = True
        logger.info("draining: %d runs are under way", len(self._tasks))
        for task in self._tasks.values():
            task.keep_alone()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s - LAST_WORDS_S):
                await self._none.wait()
                await self._readers.none.wait()
        await self.aclose()

    async def aclose(self) -> None:
        """Tell the readers to leave, and end the runs that are still going, as interrupted."""
        self.draining = True
        self.readers_must_leave.set()
        for task in self.tasks:
            task.interrupt()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._none.wait()
