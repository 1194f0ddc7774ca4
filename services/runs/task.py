"""Drives one run: works with an agent, waits for answers, can be stopped, and writes the run's end to the log."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from errors import (
    AgentStreamError,
    InternalError,
    Interrupted,
    LogUnavailable,
    RunExpired,
    RunNotFound,
    RunTimeout,
)
from event_data import PendingItem, RunEnd
from event_logs.base import Fenced
from run_models import Run, RunStatus, SessionKey, now
from services.runs.admission import Admission
from services.runs.readers import RunReaders
from services.runs.spec import RunSpec
from services.runs.suspension import Answer, Resumption, Suspension
from services.runs.turn import RunTurn
from services.runs.waiting import RETRY_S, AnswerInbox
from services.runs.write_behind import WriteBehind
from services.runs.writer import RunWriter

logger = logging.getLogger(__name__)

STOP_S = 1.0  # how long a stopped agent may take to clean up before the run ends without it


class RunTask:
    """A run in this process. It ends by itself, by `cancel`, `interrupt` or its timeout, or if it has no reader.

    For a run of a former process, `writer` has replayed its events. If it was left waiting, `inbox` has the wait, or
    `resumption` is what to resume with.
    """

    def __init__(
        self,
        spec: RunSpec,
        writer: RunWriter,
        inbox: AnswerInbox,
        admission: Admission,
        write_behind: WriteBehind,
        resumption: Resumption | None = None,
    ) -> None:
        self._spec = replace(spec, behind=())  # the turn has these runs, and drops them when they have ended
        self._turn = RunTurn(spec.behind)
        self._writer = writer
        self._admission = admission
        self._write_behind = write_behind
        self._resumption = resumption
        self._finished_at: str | None = None
        unattended = spec.run.on_disconnect == "continue"
        self.readers = RunReaders(spec.grace_s, self._abandon, may_be_unattended=unattended)
        self._inbox = inbox
        self._timeout: asyncio.TimerHandle | None = None
        self._stopper: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()  # asyncio itself holds tasks weakly
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if inbox.is_waiting:
            self.readers.pause()
        elif resumption is None:  # a run with its answers needs no reader for now, as after `RunReaders.resume`
            self.readers.begin_grace()
        self._task = asyncio.create_task(self._run(), name=self.run_id)
        self._changed()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._spec.run.run_id

    @property
    def owner(self) -> str:
        """The caller that the run belongs to."""
        return self._spec.run.owner

    @property
    def session_key(self) -> SessionKey | None:
        """The session that the run belongs to."""
        return self._spec.run.session_key

    @property
    def status(self) -> RunStatus:
        """The run's present status."""
        if self._finished_at and self._writer.end:
            return RunStatus(self._writer.end)
        if self.is_waiting:
            return RunStatus.WAITING
        return RunStatus.QUEUED if self.is_queued else RunStatus.RUNNING

    @property
    def is_waiting(self) -> bool:
        """Whether the run waits for a person or the caller's page."""
        return self._inbox.is_waiting and not self.is_ending

    @property
    def is_held(self) -> bool:
        """Whether the run makes no progress here: it waits for a person, is behind a run that does, or stays queued."""
        if self.is_ending:
            return False
        return self.is_waiting or self._turn.is_held

    @property
    def is_queued(self) -> bool:
        """Whether the run waits for its turn."""
        return self._turn.is_awaited

    @property
    def is_ending(self) -> bool:
        """Whether the run has been stopped or has finished its work."""
        return self._stopper is not None or self._ending is not None

    @property
    def has_ended(self) -> bool:
        """Whether the run's end is in the log."""
        return self._finished_at is not None

    def cancel(self) -> None:
        """End the run as cancelled. Idempotent. A run that has ended stays as it is."""
        self._stop_with(None)

    def interrupt(self) -> None:
        """End the run as failed, because the server stops. A waiting or queued run is left to the next process."""
        if self.is_queued:
            self.stay_queued()
        elif self.is_waiting:
            self._task.cancel()  # nothing is written: what the next process needs is in the log and in the database
        else:
            self._stop_with(Interrupted())

    def stay_queued(self) -> None:
        """Leave a queued run to the next process, which begins it. Does nothing to other runs."""
        if self.is_queued and not self.is_ending:
            self._turn.stay_queued()
            self._task.cancel()

    async def has_turn(self) -> bool:
        """Wait until it is known whether a queued run's turn comes in this process, and return whether it does."""
        return await self._turn.comes()

    def _abandon(self) -> None:
        """End the run when its grace without a reader is over. For a held run, the grace begins with its turn."""
        if not self.is_held:
            self.cancel()

    def cancel_without_readers(self) -> None:
        """End the run without a grace, since its caller has no way to come back, unless it has or needs no reader."""
        if self.readers.are_missing:
            self.cancel()

    def snapshot(self) -> Run:
        """Return the run's present state."""
        writer = self._writer
        return self._spec.run.model_copy(
            update={
                "status": self.status,
                "finished_at": self._finished_at,
                "last_seq": writer.last_seq,
                "answered_by": writer.answered_by,
                "pending": self._inbox.pending if self.is_waiting else None,
                "finish_reason": writer.finish_reason,
                "usage": writer.usage,
                "steps": writer.steps,
                "error": writer.error,
            }
        )

    def tool_of(self, call_id: str) -> str | None:
        """Return the name of the tool of a call that the run waits for."""
        return self._inbox.tool_of(call_id)

    async def pending_since(self, seq: int) -> list[PendingItem] | None:
        """Return what has no answer yet, or None if the wait that the event `seq` began is over."""
        return await self._inbox.pending_since(seq)

    async def answer(self, answers: Sequence[Answer]) -> None:
        """Accept answers that the run waits for. Raise as `AnswerInbox.take` does.

        They are committed even if the caller disconnects meanwhile.
        """
        taking = asyncio.create_task(self._take(answers), name=f"answer {self.run_id}")
        self._answering.add(taking)
        taking.add_done_callback(self._answering.discard)
        await asyncio.shield(taking)

    async def _take(self, answers: Sequence[Answer]) -> None:
        await self._inbox.take(answers)
        self._changed()

    # Working

    async def _run(self) -> None:
        error: AgentStreamError | None = None
        try:
            await self._work()
        except AgentStreamError as failure:
            error = failure
        except Fenced:
            return  # the run was ended while the agent was still working
        except Exception:
            logger.exception("run %s (request %s) failed", self.run_id, self._spec.request_id)
            error = InternalError()
        self._end("succeeded" if error is None else "failed", error)

    async def _work(self) -> None:
        """Work until the answer is complete, through all waits."""
        resumption, self._resumption = self._resumption, None
        if self.is_queued:
            await self._wait_for_turn()
        if self._inbox.is_waiting:
            resumption = await self._wait_for_answers()
        while (suspension := await self._work_until_wait(resumption)) is not None:
            await self._inbox.begin(self.snapshot(), suspension, self._spec.wait_s)
            self.readers.pause()  # a person may take longer than the grace, and close the page meanwhile
            self._changed()
            del suspension, resumption  # they hold the conversation, and a run can wait for days
            resumption = await self._wait_for_answers()

    async def _work_until_wait(self, resumption: Resumption | None) -> Suspension | None:
        """Work from the beginning or from a wait, up to the next wait or the end, within the run's timeout."""
        self._timeout = asyncio.get_running_loop().call_later(self._spec.timeout_s, self._time_out)
        if resumption is None:
            suspension = await self._spec.work.begin(self._writer)
        else:
            suspension = await self._spec.work.resume(resumption, self._writer)
        self._timeout.cancel()  # if the work raises, `_finish` cancels it
        return suspension

    async def _wait_for_answers(self) -> Resumption:
        resumption = await self._inbox.resumption()
        self.readers.resume()
        self._changed()
        return resumption

    async def _wait_for_turn(self) -> None:
        await self._turn.wait()
        self.readers.begin_grace()
        self._changed()

    def _changed(self) -> None:
        """Count the run by its new status, and record it."""
        if self.has_ended:
            self._admission.forget(self.run_id)
        else:
            self._admission.note(self.run_id, self.status)
        self._write_behind.save(self.run_id, self.snapshot)

    # Ending

    def _time_out(self) -> None:
        self._stop_with(RunTimeout())

    def _stop_with(self, error: AgentStreamError | None) -> None:
        if not self.is_ending:
            self._stopper = asyncio.create_task(self._stop(error), name=f"stop {self.run_id}")

    async def _stop(self, error: AgentStreamError | None) -> None:
        """End the run, even if its agent doesn't stop in time. If it has just ended by itself, that end counts."""
        self._task.cancel()
        # An agent that ignores this is abandoned. After `complete`, the log refuses whatever it still writes.
        await asyncio.wait({self._task}, timeout=STOP_S)
        self._end("cancelled" if error is None else "failed", error)

    def _end(self, end: RunEnd, error: AgentStreamError | None) -> None:
        """Write the run's end in a task that nothing cancels. Only the first call counts."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._write_end(end, error), name=f"end {self.run_id}")

    async def _write_end(self, end: RunEnd, error: AgentStreamError | None) -> None:
        if error is not None:
            logger.warning("run %s failed: %s (request %s)", self.run_id, error.code, self._spec.request_id)
        try:
            await self._inbox.close()
            self._writer.conclude(end, error, self._spec.request_id)
            await self._commit_until_accepted()
        except (Fenced, RunNotFound, RunExpired):
            logger.warning("the end of run %s isn't written: its log is gone or has another writer", self.run_id)
        self._finish()

    async def _commit_until_accepted(self) -> None:
        """Commit, and try again as long as the log is unavailable. Raise `Fenced`."""
        while True:
            try:
                return await self._writer.commit()
            except LogUnavailable:
                await asyncio.sleep(RETRY_S)

    def _finish(self) -> None:
        """Stop every timer, record the end and wake everything that waits for it."""
        self._turn.close()
        if self._timeout is not None:
            self._timeout.cancel()
        self.readers.pause()
        self._finished_at = now()
        self._changed()
        self.ended.set_result(None)  # last, so that everything that waits for it sees the run as it ended
