"""The service: starts runs, lets readers follow them, looks at them, cancels them and lets them go."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial

from errors import CursorAhead, RunActive, RunExpired, RunNotFound, ServerDraining
from event_logs.base import EventLog
from events import PendingCall
from models import AgentRequest, AgentResponse, Run, RunList, RunStatus, SimulateRequest
from services.intake.answers import AnswerIntake
from services.intake.starting import RunStarter
from services.runs.admission import RETRY_AFTER_S
from services.runs.folding import Folded, fold
from services.runs.live import LiveRuns
from services.runs.readers import RunStream
from services.runs.records import RunRecords
from services.sessions.sessions import Sessions
from tool_models import ApprovalDecision, ClientToolResults


class AgentService:
    """What callers can do with runs. It owns nothing: its parts are opened and closed by the app."""

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
        self, request: AgentRequest, request_id: str, key: str | None = None, *, alone: bool = False
    ) -> str:
        """Start a run, which goes on in the background; `run_started` is committed. Give back its id.

        With an idempotency `key` that has started a run before, it is that run. A run that is started `alone` goes on
        without a reader unless the request says otherwise.

        Raise `ModelUnavailable` or `McpUnavailable` for what no upstream can serve, a `CapacityError` for a server
        that is full, draining or can't write, `SessionBusy` or `InvalidParent`, and `IdempotencyKeyReused`.
        """
        return await asyncio.shield(self._starts.begin(request, request_id, key, alone=alone))

    async def start_alone(self, request: AgentRequest, request_id: str, key: str | None) -> Run:
        """Start a run that nobody reads yet. Raise as `start` does."""
        return await self.get(await self.start(request, request_id, key, alone=True))

    async def execute_agent_streaming(self, request: AgentRequest, request_id: str, key: str | None) -> RunStream:
        """Start a run and follow it from its first event. Raise as `start` does."""
        run_id = await self.start(request, request_id, key)
        if key is not None:
            await self._log.position(run_id)  # the run may be an old one
        return self._live.stream(run_id, 0)

    async def execute_agent(
        self, request: AgentRequest, request_id: str, key: str | None
    ) -> tuple[AgentResponse, Folded]:
        """Run to the end, or until a person has to be waited for, and fold the events.

        When this call is cancelled, so is the run, unless it may go on alone or another caller reads it. Raise as
        `start` does, or `ServerDraining` where a queued run is left to the next process; without a key it is cancelled.
        """
        beginning = self._starts.begin(request, request_id, key, alone=False)
        try:
            run_id = await asyncio.shield(beginning)
            async with self._live.stream(run_id, 0) as pages:
                await self._has_turn(run_id, cancelled=key is None and request.on_disconnect == "cancel")
                folded = await fold(pages, partial(self._pending, run_id))
        except asyncio.CancelledError:
            beginning.add_done_callback(self._give_up)
            raise
        return folded.response(run_id), folded

    async def _has_turn(self, run_id: str, *, cancelled: bool) -> None:
        """Wait for a queued run's turn. Raise `ServerDraining` where it does not come in this process."""
        task = self._live.get(run_id)
        if task is None or await task.has_turn():
            return
        if cancelled:
            task.cancel()
        raise ServerDraining(retry_after=RETRY_AFTER_S, run_id=run_id)

    async def _pending(self, run_id: str, seq: int) -> list[PendingCall] | None:
        task = self._live.get(run_id)
        return None if task is None else await task.inbox.pending_since(seq)

    def _give_up(self, beginning: asyncio.Task[str]) -> None:
        """Who has begun a run has left, and has no way to come back to it."""
        if not beginning.cancelled() and beginning.exception() is None and (task := self._live.get(beginning.result())):
            task.give_up()

    async def simulate_streaming_execution(self, request: SimulateRequest, request_id: str) -> RunStream:
        """Start a scripted run and follow it from its first event. Raise a `CapacityError` as `start` does."""
        return self._live.stream(await self._starts.simulate(request, request_id), 0)

    # Answering what a run waits for

    async def approve(self, run_id: str, call_id: str, decision: ApprovalDecision) -> Run:
        """Take a person's decision on a call. Raise as `AnswerIntake.approve` does."""
        await self._answers.approve(run_id, call_id, decision)
        return await self.get(run_id)

    async def take_results(self, run_id: str, results: ClientToolResults) -> Run:
        """Take what client tools gave. Raise as `AnswerIntake.take_results` does."""
        await self._answers.take_results(run_id, results.results)
        return await self.get(run_id)

    # Looking, following, ending

    async def follow(self, run_id: str, after: int) -> RunStream | None:
        """A run's frames from event `after + 1` on; None where it has ended and nothing is left.

        Raise `RunNotFound`, `RunExpired`, or `CursorAhead` for an event that does not exist yet.
        """
        return self._live.stream(run_id, after) if await self._is_more(run_id, after) else None

    async def read(self, run_id: str, after: int) -> AsyncGenerator[bytes, None] | None:
        """The same without waiting for what does not exist yet. Raise as `follow` does."""
        return self._log.read(run_id, after, follow=False) if await self._is_more(run_id, after) else None

    async def _is_more(self, run_id: str, after: int) -> bool:
        try:
            position = await self._log.position(run_id)
        except RunNotFound:
            await self._records.get(run_id)
            raise RunExpired from None  # there has been one
        if after > position.last_seq:
            raise CursorAhead(f"The run's last event so far is {position.last_seq}.")
        return not position.ended or after < position.last_seq

    async def get(self, run_id: str) -> Run:
        """How a run stands. Raise `RunNotFound`, `RunExpired` or `StoreUnavailable`."""
        if task := self._live.get(run_id):
            return task.snapshot()
        return await self._records.get(run_id)

    async def runs(self, session_id: str | None, status: RunStatus | None, before: str | None, limit: int) -> RunList:
        """A page of runs, the latest first. Raise `SessionNotFound` or `StoreUnavailable`."""
        page = await self._records.page(session_id, status, before, limit)
        if session_id is not None and not page.runs:
            await self._sessions.get(session_id)
        live = {run.run_id: task.snapshot() for run in page.runs if (task := self._live.get(run.run_id))}
        return page.model_copy(update={"runs": [live.get(run.run_id, run) for run in page.runs]})

    async def cancel(self, run_id: str) -> Run:
        """Ask a run to end; it does so soon. A run that has ended stays as it is. Raise as `get` does."""
        if task := self._live.get(run_id):
            task.cancel()
        return await self.get(run_id)

    async def delete(self, run_id: str) -> None:
        """Delete a run that has ended, with its events and messages.

        Raise `RunActive`, `RunContinued`, or as `get` does.
        """
        if self._live.get(run_id):
            raise RunActive(run_id=run_id)
        await self._sessions.delete_run(await self._records.get(run_id))
