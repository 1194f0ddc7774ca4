"""The runs of this process: admitted, launched, followed, drained."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress

from database.waiting_runs import WaitingRun
from errors import LogUnavailable, ServerDraining, ServerFull
from event_logs.base import EventLog, EventWriter
from events import RunStarted
from models import Run
from services.run_events import RunEvents
from services.run_records import RunRecords
from services.run_task import RunOrder, RunTask
from services.run_wait import RunWait
from settings import Settings

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 5
LAST_WORDS_S = 2.0  # what is left of the drain when the readers have to leave
END_S = 2.0  # how long ending the last runs may take


class Readers:
    """How many streams are being read."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = asyncio.Event()

    def add(self, change: int) -> None:
        """One more, or one less."""
        self._count += change
        self._changed.set()

    async def down_to(self, fewest: Callable[[], int]) -> None:
        """Come back when there are no more than so many."""
        while self._count > fewest():
            self._changed.clear()
            await self._changed.wait()


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
        self._going: set[str] = set()  # those that neither wait for a person nor for their turn
        self._queued: set[str] = set()  # those that wait for their turn
        self._sessions: dict[str, list[RunTask]] = {}
        self._starting = 0
        self._changed = asyncio.Event()
        self._readers = Readers()
        self.draining = False
        self.readers_must_leave = asyncio.Event()
        self._patience: asyncio.Timeout | None = None  # while a drain waits for runs to end

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
        """Raise a `CapacityError` if this server can't take a new run now."""
        self._check_place()
        if len(self._tasks) - len(self._going) >= self._settings.max_waiting_runs:
            raise ServerFull("Too many runs wait for a person, or for their turn.", retry_after=RETRY_AFTER_S)

    def check_queue(self) -> None:
        """Raise `ServerFull` where as many runs wait for their turn, each with its request, as may go on at once."""
        if len(self._queued) >= self._settings.max_concurrent_runs:
            raise ServerFull("Too many runs wait for their turn.", retry_after=RETRY_AFTER_S)

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Holds a place for the new run that is started inside. Raise as `admit` does."""
        self.admit()
        with self._place():
            yield

    def _check_place(self) -> None:
        if self.draining:
            raise ServerDraining(retry_after=RETRY_AFTER_S)
        if len(self._going) + self._starting >= self._settings.max_concurrent_runs:
            raise ServerFull(retry_after=RETRY_AFTER_S)
        self._records.check()

    @contextmanager
    def _place(self) -> Iterator[None]:
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
        task = RunTask(order, events, self)
        self._keep(task)
        return task

    async def restore(self, order: RunOrder, events: RunEvents, wait: RunWait | None = None) -> None:
        """Keep a run that a former process has left waiting; where the wait is over, it goes on.

        Without `wait`, the run was queued. Raise `LogUnavailable`.
        """
        if wait is None or wait.is_over:
            events.take_pen(await self._log.take_over(order.run.run_id))
        self._keep(RunTask(order, events, self, wait))

    def _keep(self, task: RunTask) -> None:
        if self.draining:
            task.stay_queued()
        self._tasks[task.run_id] = task
        if task.session_id is not None:
            self._sessions.setdefault(task.session_id, []).append(task)
        self.changed(task)

    # As the `Keeper` of its tasks

    @contextmanager
    def readmission(self) -> Iterator[None]:
        """See `WaitKeeper`."""
        self._check_place()
        with self._place():
            yield

    async def store(self, run: Run, left_off: WaitingRun) -> None:
        """See `WaitKeeper`."""
        await self._records.suspend(run, left_off)

    async def left_off(self, run_id: str) -> WaitingRun:
        """See `WaitKeeper`."""
        return await self._records.left_off(run_id)

    async def take_over(self, run_id: str) -> EventWriter:
        """See `WaitKeeper`."""
        return await self._log.take_over(run_id)

    def changed(self, task: RunTask) -> None:
        """See `Keeper`."""
        if task.has_ended:
            self._let_go(task)
        over = task.has_ended or task.is_waiting
        (self._queued.add if task.is_queued and not over else self._queued.discard)(task.run_id)
        (self._going.discard if over or task.is_queued else self._going.add)(task.run_id)
        self._changed.set()
        self._records.save(task.run_id, task.snapshot)

    def _let_go(self, task: RunTask) -> None:
        del self._tasks[task.run_id]
        if task.session_id is not None:
            self._sessions[task.session_id].remove(task)
            if not self._sessions[task.session_id]:
                del self._sessions[task.session_id]

    async def drain(self) -> None:
        """Take no new runs, let those under way end and be read, and end what is left before time is up.

        Queued runs stay queued for the next process. Who reads a run that waits isn't waited for.
        """
        self.draining = True
        limit_s = self._settings.drain_s
        logger.info("draining: %d runs may end within %g s; a second signal stops at once", len(self._going), limit_s)
        for task in self._tasks.values():
            task.keep_alone()
            task.stay_queued()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s - LAST_WORDS_S) as self._patience:
                await self._nothing_goes_on()
                await self._readers.down_to(lambda: sum(task.readers for task in self.tasks))
        self._patience = None
        await self.aclose()

    def cut_drain_short(self) -> bool:
        """End a drain's wait for the runs under way, as if its time were up. False where it doesn't wait any more."""
        patience, self._patience = self._patience, None
        if patience is None or patience.expired():
            return False
        patience.reschedule(asyncio.get_running_loop().time())
        return True

    async def aclose(self) -> None:
        """Tell the readers to leave, and end the runs that are still going, as interrupted."""
        self.draining = True
        self.readers_must_leave.set()
        for task in self.tasks:
            task.interrupt()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._nothing_goes_on()

    async def _nothing_goes_on(self) -> None:
        while not all(task.is_held for task in self.tasks):
            self._changed.clear()
            await self._changed.wait()
