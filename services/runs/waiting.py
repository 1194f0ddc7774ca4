"""Takes the answers that a run waits for, and gives the run what it needs to resume."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from database.suspended_runs import SuspendedRun
from errors import CapacityError, InternalError, LogUnavailable, RunNotWaiting
from event_logs.base import EventLog
from events import PendingCall, ToolResult
from models import Run, RunStatus, now
from services.runs.admission import Admission
from services.runs.records import RunRecords
from services.runs.suspension import Answer, Resumption, Suspension, Wait, asking
from services.runs.writer import RunWriter

logger = logging.getLogger(__name__)

RETRY_S = 1.0  # how long what the log or the server has refused waits for the next try


class AnswerInbox:
    """The waits of one run, one after another. Make it in a running loop.

    A wait begins with `begin` (or `restore`); each `take` commits answers to the log; `resumption` returns once every
    call has its answer.
    """

    def __init__(
        self, run_id: str, events: RunWriter, log: EventLog, records: RunRecords, admission: Admission
    ) -> None:
        self._run_id = run_id
        self._events = events
        self._log = log
        self._records = records
        self._admission = admission
        self._wait: Wait | None = None
        self._over: asyncio.Future[Resumption]
        self._closed = False
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_waiting(self) -> bool:
        """Whether the run waits."""
        return self._wait is not None and not self._closed

    @property
    def pending(self) -> list[PendingCall] | None:
        """The calls without an answer, if the run waits."""
        return self._wait.pending if self._wait is not None and not self._closed else None

    def name_of(self, call_id: str) -> str | None:
        """The tool of a call that the run waits for."""
        return None if self._wait is None else self._wait.names.get(call_id)

    async def pending_since(self, seq: int) -> list[PendingCall] | None:
        """The calls without an answer, if the run waits since the `waiting` event with this number."""
        async with self._lock:
            return self.pending if self._wait is not None and self._wait.seq == seq else None

    async def begin(self, run: Run, suspension: Suspension, wait_s: float) -> None:
        """Store what the run needs to resume, then commit the events of the wait. Raise a `CapacityError`."""
        async with self._lock:
            expires_at = now(wait_s)
            pending = [call.tool_call_id for call in suspension.pending]
            stored = SuspendedRun(run.run_id, pending, dict(suspension.request), dict(suspension.state), expires_at)
            await self._records.suspend(run, stored)
            for event in asking(suspension.pending, expires_at):
                self._events.put(event)
            await self._events.commit()
            await self._events.release()
            self.restore(Wait([call.told for call in suspension.pending], expires_at, self._events.last_seq))

    def restore(self, wait: Wait) -> None:
        """Begin a wait that the log already has."""
        self._wait = wait
        self._over = asyncio.get_running_loop().create_future()

    async def take(self, answers: Sequence[Answer]) -> None:
        """Take answers to calls. Repeated ones change nothing.

        Raise `RunNotWaiting`, `ToolCallNotFound`, `ToolCallAnswered`, or a `CapacityError`, and take none of them.
        """
        async with self._lock:
            if self._wait is None or self._closed:
                raise RunNotWaiting
            await self._take(self._wait, answers)

    async def resumption(self) -> Resumption:
        """Wait for the last answer, or refuse the calls without one at the expiry, and return what to resume with."""
        assert self._wait is not None
        wait = self._wait
        with suppress(TimeoutError):
            async with asyncio.timeout(wait.left_s):
                return await asyncio.shield(self._over)
        await asyncio.shield(self._beside(self._refuse(wait)))
        return await asyncio.shield(self._over)

    async def close(self) -> None:
        """Take no more answers, and open a writer for the run's end if it has none.

        Raise `Fenced`, `RunNotFound` or `RunExpired` if no writer can be had.
        """
        self._closed = True
        async with self._lock:
            while self._events.released:
                try:
                    self._events.use_writer(await self._log.take_over(self._run_id))
                except LogUnavailable:
                    await asyncio.sleep(RETRY_S)

    async def _take(self, wait: Wait, answers: Sequence[Answer]) -> None:
        new = wait.new(answers)
        if not new:
            return
        if not wait.over_with(new):
            await self._commit(new)
            wait.add(new)
            await self._events.release()
            return
        stored = await self._records.suspended_run(self._run_id)
        with self._admission.place_again():
            await self._commit(new)
            wait.add(new)
            await self._end(wait, stored)

    async def _commit(self, answers: Sequence[Answer]) -> None:
        """Commit the answers, or none of them. Raise `LogUnavailable`."""
        self._events.use_writer(await self._log.take_over(self._run_id))
        committed = False
        try:
            for answer in answers:
                self._events.put(answer)
            await self._events.commit()
            committed = True
        finally:
            if not committed:
                await self._events.release()
                for answer in answers:
                    if isinstance(answer, ToolResult):
                        self._events.reopen(answer.tool_call_id, answer.name)

    async def _end(self, wait: Wait, stored: SuspendedRun) -> None:
        if self._closed:
            await self._events.release()
            return
        self._wait = None
        self._admission.note(self._run_id, RunStatus.RUNNING)
        if not self._over.done():  # the run's task may have been stopped
            self._over.set_result(Resumption(stored, wait.answers))

    async def _refuse(self, wait: Wait) -> None:
        """Refuse the calls without an answer, as soon as the log and the server allow it. Raise `InternalError`."""
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
        task = asyncio.create_task(work, name=f"waiting {self._run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
