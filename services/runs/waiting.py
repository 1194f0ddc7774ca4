"""Accepts the answers that a run waits for, commits them, and resumes the run with the last one."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from database.suspended_runs import SuspendedRun
from errors import CapacityError, InternalError, LogUnavailable, RunNotWaiting
from event_data import PendingItem, ToolResult
from event_logs.base import EventLog
from run_models import Run, RunStatus, now
from services.runs.admission import Admission
from services.runs.records import RunRecords
from services.runs.suspension import Answer, Resumption, Suspension, Wait, id_of, waiting_events
from services.runs.writer import RunWriter

logger = logging.getLogger(__name__)

RETRY_S = 1.0  # how long to wait before the next try after the log or the server refused something


class AnswerInbox:
    """The waits of one run, one after another. Make it in a running loop.

    A wait begins with `begin` (or `restore`). Each `take` commits answers to the log. `resumption` returns once
    everything has its answer.
    """

    def __init__(
        self, run_id: str, writer: RunWriter, log: EventLog, records: RunRecords, admission: Admission
    ) -> None:
        self._run_id = run_id
        self._writer = writer
        self._log = log
        self._records = records
        self._admission = admission
        self._wait: Wait | None = None
        self._resumption: asyncio.Future[Resumption]
        self._closed = False
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_waiting(self) -> bool:
        """Whether the run waits."""
        return self._wait is not None and not self._closed

    @property
    def pending(self) -> list[PendingItem] | None:
        """What has no answer yet, or None if the run doesn't wait."""
        return self._wait.pending if self._wait is not None and not self._closed else None

    def tool_of(self, call_id: str) -> str | None:
        """Return the name of the tool of a call that the run waits for."""
        return None if self._wait is None else self._wait.names.get(call_id)

    async def pending_since(self, seq: int) -> list[PendingItem] | None:
        """Return what has no answer yet, or None if the wait that the event `seq` began is over."""
        async with self._lock:  # held while a wait begins or ends, so the result is never of a moment in between
            return self.pending if self._wait is not None and self._wait.seq == seq else None

    async def begin(self, run: Run, suspension: Suspension, wait_s: float) -> None:
        """Store what the run needs to resume, then commit the events of the wait. Raise a `CapacityError`.

        After a crash between these two steps, the log shows no wait and the run counts as interrupted. In the other
        order there could be a wait in the log that can't be resumed.
        """
        async with self._lock:
            expires_at = now(wait_s)
            pending = [item.listed(expires_at) for item in suspension.pending]
            ids = [*map(id_of, pending)]
            stored = SuspendedRun(run.run_id, ids, dict(suspension.request), dict(suspension.state), expires_at)
            await self._records.suspend(run, stored)
            for event in waiting_events(suspension.pending, expires_at):
                self._writer.put(event)
            await self._writer.commit()
            await self._writer.release()
            self.restore(Wait(pending, expires_at, self._writer.last_seq))

    def restore(self, wait: Wait) -> None:
        """Begin a wait whose events are in the log already."""
        self._wait = wait
        self._resumption = asyncio.get_running_loop().create_future()

    async def take(self, answers: Sequence[Answer]) -> None:
        """Commit answers, all or none. Repeated ones change nothing.

        Raise `RunNotWaiting`, a `CapacityError`, or as `Wait.new` does.
        """
        async with self._lock:
            if self._wait is None or self._closed:
                raise RunNotWaiting
            await self._take(self._wait, answers)

    async def resumption(self) -> Resumption:
        """Wait for the last answer and return what to resume with. When the wait expires, refuse what is pending."""
        assert self._wait is not None
        wait = self._wait
        with suppress(TimeoutError):
            async with asyncio.timeout(wait.remaining_s):
                return await asyncio.shield(self._resumption)
        await asyncio.shield(self._beside(self._refuse(wait)))
        return await asyncio.shield(self._resumption)

    async def close(self) -> None:
        """Accept no more answers, and open a writer for the run's end if it has none.

        Raise `Fenced`, `RunNotFound` or `RunExpired` if the log refuses a writer.
        """
        self._closed = True
        async with self._lock:
            while self._writer.released:
                try:
                    self._writer.use_writer(await self._log.take_over(self._run_id))
                except LogUnavailable:
                    await asyncio.sleep(RETRY_S)

    async def _take(self, wait: Wait, answers: Sequence[Answer]) -> None:
        new = wait.new(answers)
        if not new:
            return
        if not wait.is_over_with(new):
            await self._commit(new)
            wait.add(new)
            await self._writer.release()
            return
        # The last answer resumes the run. Whatever could prevent that comes before the commit, since an answer in the
        # log can't be taken back.
        stored = await self._records.suspended_run(self._run_id)
        with self._admission.place_again():
            await self._commit(new)
            wait.add(new)
            await self._end(wait, stored)

    async def _commit(self, answers: Sequence[Answer]) -> None:
        """Commit the answers, or none of them. Raise `LogUnavailable`."""
        self._writer.use_writer(await self._log.take_over(self._run_id))
        committed = False
        try:
            for answer in answers:
                self._writer.put(answer)
            await self._writer.commit()
            committed = True
        finally:
            if not committed:
                await self._take_back(answers)

    async def _take_back(self, answers: Sequence[Answer]) -> None:
        """Drop answers that were put but not committed."""
        await self._writer.release()
        for answer in answers:
            if isinstance(answer, ToolResult):
                self._writer.reopen(answer.tool_call_id, answer.name)

    async def _end(self, wait: Wait, stored: SuspendedRun) -> None:
        if self._closed:  # while the answers were committed: `close` waits for the lock, and then opens a writer
            await self._writer.release()
            return
        self._wait = None
        self._admission.note(self._run_id, RunStatus.RUNNING)
        if not self._resumption.done():  # the run's task may have been stopped meanwhile
            self._resumption.set_result(Resumption(stored, wait.answers))

    async def _refuse(self, wait: Wait) -> None:
        """Refuse whatever has no answer, as soon as the log and the server allow it. Raise `InternalError`."""
        while True:
            try:
                async with self._lock:
                    if self._wait is wait and not self._closed:
                        await self._take(wait, wait.refusals())
                    return
            except CapacityError:
                await asyncio.sleep(RETRY_S)
            except RunNotWaiting:
                logger.exception("run %s waited too long and can't resume: its stored state is lost", self._run_id)
                raise InternalError from None

    def _beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that finishes even if the run's task is cancelled. The set keeps it from being collected."""
        task = asyncio.create_task(work, name=f"waiting {self._run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
