"""The runs of this process: launched, restored, followed, drained."""

import asyncio
import logging
from contextlib import suppress
from functools import partial

from errors import LogUnavailable
from event_logs.base import EventLog
from events import RunStarted
from services.runs.admission import Admission
from services.runs.readers import LeaveSignal, OpenStreams, RunStream
from services.runs.records import RunRecords
from services.runs.suspension import Resumption, Wait
from services.runs.task import RunSpec, RunTask
from services.runs.waiting import AnswerInbox
from services.runs.write_behind import WriteBehind
from services.runs.writer import RunWriter
from settings import Settings

logger = logging.getLogger(__name__)

LAST_WORDS_S = 2.0  # what is left of the drain when the readers have to leave
END_S = 2.0  # how long ending the last runs may take


class LiveRuns:
    """The runs that this process drives. Make it in a running loop; `aclose` ends those under way."""

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        records: RunRecords,
        write_behind: WriteBehind,
        admission: Admission,
    ) -> None:
        self._settings = settings
        self._log = log
        self._records = records
        self._write_behind = write_behind
        self._admission = admission
        self._tasks: dict[str, RunTask] = {}
        self._sessions: dict[str, list[RunTask]] = {}
        self._streams = OpenStreams()
        self.readers_must_leave = LeaveSignal()
        self._patience: asyncio.Timeout | None = None  # while a drain waits for runs to end

    @property
    def tasks(self) -> tuple[RunTask, ...]:
        """The runs that have not ended, in the order in which they began."""
        return tuple(task for task in self._tasks.values() if not task.has_ended)

    def get(self, run_id: str) -> RunTask | None:
        """A run that has not ended."""
        task = self._tasks.get(run_id)
        return None if task is None or task.has_ended else task

    def of_session(self, session_id: str) -> tuple[RunTask, ...]:
        """The session's runs that have not ended, in the order in which they began."""
        return tuple(task for task in self._sessions.get(session_id, ()) if not task.has_ended)

    def stream(self, run_id: str, after: int) -> RunStream:
        """A run's frames from event `after + 1` on."""
        task = self.get(run_id)
        return RunStream(run_id, self._log.read(run_id, after), None if task is None else task.readers, self._streams)

    async def launch(self, order: RunSpec) -> RunTask:
        """Begin a run: `run_started` is committed. Raise `LogUnavailable`, and leave nothing behind."""
        run = order.run
        events = RunWriter(await self._log.create(run.run_id), self._settings.max_output_bytes)
        events.put(RunStarted(model=run.model, session_id=run.session_id))
        try:
            await events.commit()
        except LogUnavailable:
            with suppress(LogUnavailable):
                await self._log.delete(run.run_id)
            raise
        return self._keep(order, events)

    async def restore(
        self, order: RunSpec, events: RunWriter, wait: Wait | None = None, resumption: Resumption | None = None
    ) -> None:
        """Keep a run that a former process left: in a `wait`, or about to resume, or else queued.

        Raise `LogUnavailable`.
        """
        if wait is None:
            events.use_writer(await self._log.take_over(order.run.run_id))
        self._keep(order, events, wait, resumption)

    def _keep(
        self, order: RunSpec, events: RunWriter, wait: Wait | None = None, resumption: Resumption | None = None
    ) -> RunTask:
        inbox = AnswerInbox(order.run.run_id, events, self._log, self._records, self._admission)
        if wait is not None:
            inbox.restore(wait)
        task = RunTask(order, events, inbox, self._admission, self._write_behind, resumption)
        if self._admission.draining:
            task.stay_queued()
        self._tasks[task.run_id] = task
        if task.session_id is not None:
            self._sessions.setdefault(task.session_id, []).append(task)
        task.ended.add_done_callback(partial(self._remove, task))
        return task

    def _remove(self, task: RunTask, _ended: asyncio.Future[None]) -> None:
        del self._tasks[task.run_id]
        if task.session_id is not None:
            self._sessions[task.session_id].remove(task)
            if not self._sessions[task.session_id]:
                del self._sessions[task.session_id]

    async def drain(self) -> None:
        """Take no new runs, let those under way end and be read, and end what is left before the time is over.

        Queued runs stay queued for the next process. Readers of a waiting run are not waited for.
        """
        self._admission.draining = True
        limit_s, running = self._settings.drain_s, self._admission.running
        logger.info("draining: %d runs may end within %g s; a second signal stops at once", running, limit_s)
        for task in self.tasks:
            task.readers.keep_alone()
            task.stay_queued()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s - LAST_WORDS_S) as self._patience:
                await self._nothing_under_way()
                await self._streams.down_to(lambda: sum(task.readers.count for task in self.tasks))
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
        """Ask the readers to leave, and end the runs that are under way, as interrupted."""
        self._admission.draining = True
        self.readers_must_leave.give()
        for task in self.tasks:
            task.interrupt()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._nothing_under_way()

    async def _nothing_under_way(self) -> None:
        while not all(task.is_held for task in self.tasks):
            await self._admission.change()
