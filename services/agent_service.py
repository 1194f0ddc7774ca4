"""Offers what callers can do with runs: start, follow, answer, get, list, cancel and delete them."""

import asyncio
from collections.abc import AsyncGenerator

from errors import CursorAhead, RunActive, RunExpired, RunNotFound, ServerDraining
from event_logs.base import EventLog
from models import AgentRequest, SimulateRequest
from run_models import AgentResponse, Run, RunList, RunStatus, SessionKey
from services.access.caller import Caller
from services.intake.answers import AnswerIntake
from services.intake.starting import RunStarter
from services.runs.admission import RETRY_AFTER_S
from services.runs.folding import Folded, fold
from services.runs.live import LiveRuns
from services.runs.readers import RunStream
from services.runs.records import RunRecords
from services.runs.task import RunTask
from services.sessions.sessions import Sessions
from tool_models import ApprovalDecision, BudgetDecision, ClientToolResults


class AgentService:
    """The operations on runs. It owns no resources: the app opens and closes its parts."""

    def __init__(
        self,
        log: EventLog,
        records: RunRecords,
        live: LiveRuns,
        starts: RunStarter,
        answers: AnswerIntake,
        sessions: Sessions,
    ) -> None:
        self._log = log
        self._records = records
        self._live = live
        self._starts = starts
        self._answers = answers
        self._sessions = sessions

    # Starting

    async def start(
        self,
        caller: Caller,
        request: AgentRequest,
        request_id: str,
        key: str | None = None,
        *,
        unattended: bool = False,
    ) -> str:
        """Start a caller's run in the background, commit `run_started`, and return its id.

        If the idempotency `key` has started a run before, return that run's id. An `unattended` run needs no reader
        unless the request says otherwise.

        Raise `ModelUnavailable` or `McpUnavailable` if no upstream can serve the request, a `CapacityError` if the
        server is full, draining or can't write, `SessionBusy`, `InvalidParent` or `IdempotencyKeyReused`.
        """
        return await asyncio.shield(self._starts.begin(caller, request, request_id, key, unattended=unattended))

    async def start_unattended(self, caller: Caller, request: AgentRequest, request_id: str, key: str | None) -> Run:
        """Start a run that has no reader yet, and return its record. Raise as `start` does."""
        return await self.get(caller.owner, await self.start(caller, request, request_id, key, unattended=True))

    async def execute_agent_streaming(
        self, caller: Caller, request: AgentRequest, request_id: str, key: str | None
    ) -> RunStream:
        """Start a run and follow it from its first event. Raise as `start` does."""
        run_id = await self.start(caller, request, request_id, key)
        if key is not None:
            await self._log.position(run_id)  # raises if the key's run is an old one without events
        return self._live.stream(run_id, 0)

    async def execute_agent(
        self, caller: Caller, request: AgentRequest, request_id: str, key: str | None
    ) -> tuple[AgentResponse, Folded]:
        """Start a run, follow it to its end or its wait, and fold the events into one answer.

        If this call is cancelled, the run is cancelled, too, unless it needs no reader or has another one. Raise as
        `start` does, or `ServerDraining` if a queued run is left to the next process. Without a key it is cancelled.
        """
        starting = self._starts.begin(caller, request, request_id, key, unattended=False)
        try:
            run_id = await asyncio.shield(starting)
            async with self._live.stream(run_id, 0) as pages:
                # Without a key, the caller can't come back to the run.
                task = self._live.get(run_id)
                if task is not None:
                    await _wait_for_turn(task, cancel=key is None and request.on_disconnect == "cancel")
                folded = await fold(pages, task)
        except asyncio.CancelledError:
            starting.add_done_callback(self._cancel_without_readers)
            raise
        return folded.response(run_id), folded

    def _cancel_without_readers(self, starting: asyncio.Task[str]) -> None:
        """Cancel a run after its only caller disconnected, once its start is complete."""
        if starting.cancelled() or starting.exception() is not None:
            return
        if task := self._live.get(starting.result()):
            task.cancel_without_readers()

    async def simulate_streaming_execution(
        self, caller: Caller, request: SimulateRequest, request_id: str, key: str | None
    ) -> RunStream:
        """Start a scripted run and follow it from its first event. Raise as `start` does."""
        return await self.execute_agent_streaming(caller, request, request_id, key)

    # Answering

    async def approve(self, owner: str, run_id: str, call_id: str, decision: ApprovalDecision) -> Run:
        """Record a person's decision on a call, and return the run. Raise as `AnswerIntake.approve` does."""
        await self._answers.approve(owner, run_id, call_id, decision)
        return await self.get(owner, run_id)

    async def decide_budget(self, owner: str, run_id: str, decision: BudgetDecision) -> Run:
        """Record a person's decision on a budget, and return the run. Raise as `AnswerIntake.decide_budget` does."""
        await self._answers.decide_budget(owner, run_id, decision)
        return await self.get(owner, run_id)

    async def take_results(self, owner: str, run_id: str, results: ClientToolResults) -> Run:
        """Record the results of client tools, and return the run. Raise as `AnswerIntake.take_results` does."""
        await self._answers.take_results(owner, run_id, results.results)
        return await self.get(owner, run_id)

    # Reading and ending. A run of another owner is not found.

    async def follow(self, owner: str, run_id: str, after: int) -> RunStream | None:
        """Return a run's frames from event `after + 1` on, or None if the run has ended and has no such events.

        Raise `RunNotFound`, `RunExpired`, or `CursorAhead` for an event that does not exist yet.
        """
        return self._live.stream(run_id, after) if await self._has_more(owner, run_id, after) else None

    async def read(self, owner: str, run_id: str, after: int) -> AsyncGenerator[bytes, None] | None:
        """Return the frames that exist now, without waiting for others. Otherwise like `follow`.

        A client that polls is a reader, so the run's grace period begins again.
        """
        if task := self._live.owned(owner, run_id):
            task.readers.note_poll()
        return self._log.read(run_id, after, follow=False) if await self._has_more(owner, run_id, after) else None

    async def _has_more(self, owner: str, run_id: str, after: int) -> bool:
        if self._live.owned(owner, run_id) is None:
            await self._records.check_owner(owner, run_id)
        try:
            position = await self._log.position(run_id)
        except RunNotFound:  # there is a record, and the events have been deleted
            raise RunExpired from None
        if after > position.last_seq:
            raise CursorAhead(f"The run's last event so far is {position.last_seq}.")
        return not position.ended or after < position.last_seq

    async def get(self, owner: str, run_id: str) -> Run:
        """Return a run's record. Raise `RunNotFound`, `RunExpired` or `StoreUnavailable`."""
        if task := self._live.owned(owner, run_id):
            return task.snapshot()
        return await self._records.get(owner, run_id)

    async def runs(
        self, owner: str, session_id: str | None, status: RunStatus | None, before: str | None, limit: int
    ) -> RunList:
        """Return a page of runs, the latest first. A session that doesn't exist has none. Raise `StoreUnavailable`."""
        page = await self._records.page(owner, session_id, status, before, limit)
        live = {run.run_id: task.snapshot() for run in page.runs if (task := self._live.get(run.run_id))}
        return page.model_copy(update={"runs": [live.get(run.run_id, run) for run in page.runs]})

    async def session_runs(self, key: SessionKey, status: RunStatus | None, before: str | None, limit: int) -> RunList:
        """Return a page of a session's runs. Raise `SessionNotFound` or `StoreUnavailable`."""
        page = await self.runs(key.owner, key.session_id, status, before, limit)
        if not page.runs:
            await self._sessions.get(key)  # raises `SessionNotFound`
        return page

    async def cancel(self, owner: str, run_id: str) -> Run:
        """Ask a run to end, which takes up to a second. A run that has ended stays as it is. Raise as `get` does."""
        if task := self._live.owned(owner, run_id):
            task.cancel()
        return await self.get(owner, run_id)

    async def delete(self, owner: str, run_id: str) -> None:
        """Delete a run that has ended, with its events and messages.

        Raise `RunActive`, `RunContinued`, or as `get` does.
        """
        if self._live.owned(owner, run_id):
            raise RunActive(run_id=run_id)
        await self._sessions.delete_run(await self._records.get(owner, run_id))


async def _wait_for_turn(task: RunTask, *, cancel: bool) -> None:
    """Wait for a queued run's turn. Raise `ServerDraining` if it doesn't come in this process."""
    if await task.has_turn():
        return
    if cancel:
        task.cancel()
    raise ServerDraining(retry_after=RETRY_AFTER_S, run_id=task.run_id)
