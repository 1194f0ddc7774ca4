"""Holds the runs of this process: launches and restores them, lets readers follow them, and drains them."""

import asyncio
import logging
from contextlib import suppress
from functools import partial

from errors import LogUnavailable
from event_data import RunStarted
from event_logs.base import EventLog
from run_models import SessionKey
from services.leave_signal import LeaveSignal
from services.runs.admission import Admission
from services.runs.readers import OpenStreams, RunStream
from services.runs.records import RunRecords
from services.runs.spec import RunSpec
from services.runs.suspension import Resumption, Wait
from services.runs.task import RunTask
from services.runs.waiting import AnswerInbox
from services.runs.write_behind import WriteBehind
from services.runs.writer import RunWriter
from settings import Settings

logger = logging.getLogger(__name__)

LAST_WORDS_S = 2.0  # before the drain's limit, readers have to leave: time for `draining` frames and the last ends
END_S = 2.0  # how long the last runs may take to write their ends


class LiveRuns:
    """The runs that this process drives. Make it in a running loop. `aclose` ends those under way."""

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
        self._sessions: dict[SessionKey, list[RunTask]] = {}
        self._streams = OpenStreams()
        self.readers_must_leave = LeaveSignal()
        self._drain_wait: asyncio.Timeout | None = None  # set while a drain waits for runs to end

    @property
    def tasks(self) -> tuple[RunTask, ...]:
        """The runs that have not ended, in the order in which they began."""
        return tuple(task for task in self._tasks.values() if not task.has_ended)

    def get(self, run_id: str) -> RunTask | None:
        """Return a run that has not ended."""
        task = self._tasks.get(run_id)
        return None if task is None or task.has_ended else task

    def owned(self, owner: str, run_id: str) -> RunTask | None:
        """Return an owner's run that has not ended. Raise as `RunRecords.get` does if it is another owner's."""
        task = self.get(run_id)
        if task is not None and task.owner != owner:
            raise self._log.missing(run_id)
        return task

    def of_session(self, key: SessionKey) -> tuple[RunTask, ...]:
        """Return the session's runs that have not ended, in the order in which they began."""
        return tuple(task for task in self._sessions.get(key, ()) if not task.has_ended)

    def stream(self, run_id: str, after: int) -> RunStream:
        """Return a run's frames from event `after + 1` on."""
        task = self.get(run_id)
        readers = None if task is None else task.readers
        return RunStream(run_id, self._log.read(run_id, after), readers, self._streams)

    async def launch(self, spec: RunSpec) -> RunTask:
        """Commit `run_started` and begin the run. Raise `LogUnavailable`, and leave nothing in the log."""
        run = spec.run
        writer = RunWriter(await self._log.create(run.run_id), self._settings.max_output_bytes)
        writer.put(RunStarted(model=run.model, session_id=run.session_id, owner=run.caller))
        try:
            await writer.commit()
        except LogUnavailable:
            with suppress(LogUnavailable):
                await self._log.delete(run.run_id)
            raise
        return self._add(spec, writer)

    async def restore(
        self, spec: RunSpec, writer: RunWriter, wait: Wait | None = None, resumption: Resumption | None = None
    ) -> None:
        """Continue a run of a former process: in its `wait`, with its `resumption`, or else in the queue.

        Raise `LogUnavailable`.
        """
        if wait is None:  # a waiting run needs no open file until it has its answers
            writer.use_writer(await self._log.take_over(spec.run.run_id))
        self._add(spec, writer, wait, resumption)

    def _add(
        self, spec: RunSpec, writer: RunWriter, wait: Wait | None = None, resumption: Resumption | None = None
    ) -> RunTask:
        inbox = AnswerInbox(spec.run.run_id, writer, self._log, self._records, self._admission)
        if wait is not None:
            inbox.restore(wait)
        task = RunTask(spec, writer, inbox, self._admission, self._write_behind, resumption)
        if self._admission.draining:  # a run that was admitted before the drain began
            task.stay_queued()
        self._tasks[task.run_id] = task
        if task.session_key is not None:
            self._sessions.setdefault(task.session_key, []).append(task)
        task.ended.add_done_callback(partial(self._remove, task))
        return task

    def _remove(self, task: RunTask, _ended: asyncio.Future[None]) -> None:
        del self._tasks[task.run_id]
        if (key := task.session_key) is not None:
            self._sessions[key].remove(task)
            if not self._sessions[key]:
                del self._sessions[key]

    async def drain(self) -> None:
        """Admit no more runs, wait until those under way have ended and were read, and end the rest in time.

        Queued runs stay queued for the next process. A drain doesn't wait for the readers of waiting runs.
        """
        self._admission.draining = True
        limit_s, running = self._settings.drain_s, self._admission.running
        logger.info("draining: runs under way: %d, limit: %g s; a second signal stops at once", running, limit_s)
        for task in self.tasks:
            task.readers.allow_unattended()  # clients disconnect during a deployment, which is no reason to cancel
            task.stay_queued()
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s - LAST_WORDS_S) as self._drain_wait:
                await self._until_all_are_held()
                await self._streams.down_to(self._readers_of_runs)  # all that are left wait for somebody
        self._drain_wait = None
        await self.aclose()

    def cut_drain_short(self) -> bool:
        """End a drain's wait for runs as if its time were up. Return False if there is no such wait any more."""
        wait, self._drain_wait = self._drain_wait, None
        if wait is None or wait.expired():
            return False
        wait.reschedule(asyncio.get_running_loop().time())
        return True

    async def aclose(self) -> None:
        """Ask the readers to leave, and end the runs under way as interrupted."""
        self._admission.draining = True
        self.readers_must_leave.give()
        for task in self.tasks:
            task.interrupt()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._until_all_are_held()

    def _readers_of_runs(self) -> int:
        return sum(task.readers.count for task in self.tasks)

    async def _until_all_are_held(self) -> None:
        while not all(task.is_held for task in self.tasks):
            await self._admission.change()
