"""Runs that wait for a person: those that a former process has left, and the answers that callers send."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import uuid4

from errors import RunNotWaiting, ToolCallNotFound
from events import ApprovalResponse
from models import Run
from services.live_runs import LiveRuns
from services.run_events import RunEvents
from services.run_records import RunRecords
from services.run_task import RunTask
from services.run_wait import Answer, Outcomes, RunWait
from services.run_work import RunWork, order
from services.tool_calls import result_of
from settings import Settings
from tool_models import ApprovalDecision, ClientToolResult


class LeftWaiting(NamedTuple):
    """A run that waits, and whose process is gone.

    Where the wait is over, the process went while it made the calls, and `outcomes` are what they have come to.
    """

    run: Run
    events: RunEvents
    wait: RunWait
    outcomes: Outcomes


class WaitingRuns:
    """Takes what runs wait for."""

    def __init__(self, settings: Settings, live: LiveRuns, records: RunRecords, work: RunWork) -> None:
        self._settings = settings
        self._live = live
        self._records = records
        self._work = work

    async def restore(self, left: Iterable[LeftWaiting]) -> None:
        """Keep runs that a former process has left waiting, and go on with those that it was going on with.

        Raise `LogUnavailable`.
        """
        for run, events, wait, outcomes in left:
            events.limit(self._settings.max_output_bytes)
            resume = self._work.resuming(run)
            placed = order(self._settings, run, resume(outcomes), resume, f"req_{uuid4().hex}")
            await self._live.restore(placed, events, wait)

    async def approve(self, run_id: str, call_id: str, decision: ApprovalDecision) -> None:
        """Take a person's decision; the same one again changes nothing.

        Raise `RunNotWaiting`, `ToolCallNotFound`, `ToolCallAnswered`, `InvalidRequest` for arguments that the tool
        doesn't take, a `CapacityError`, or as `RunRecords.get` does.
        """
        task = await self._task(run_id)
        if decision.arguments is not None and task.is_waiting:
            await self._work.check_arguments(task.snapshot(), _name(task, call_id), decision.arguments)
        answer = ApprovalResponse(
            tool_call_id=call_id, approved=decision.approved, arguments=decision.arguments, reason=decision.reason
        )
        await task.answer([answer])

    async def take_results(self, run_id: str, results: Iterable[ClientToolResult]) -> None:
        """Take what client tools gave, all or none. Raise as `approve` does."""
        task = await self._task(run_id)
        most = self._settings.max_tool_result_bytes
        answers: list[Answer] = [
            result_of(r.tool_call_id, _name(task, r.tool_call_id), r.content, most, is_error=r.is_error)
            for r in results
        ]
        await task.answer(answers)

    async def _task(self, run_id: str) -> RunTask:
        task = self._live.get(run_id)
        if task is None:
            await self._records.get(run_id)  # there may be no such run
            raise RunNotWaiting
        return task


def _name(task: RunTask, call_id: str) -> str:
    if name := task.name_of(call_id):
        return name
    raise ToolCallNotFound if task.is_waiting else RunNotWaiting
