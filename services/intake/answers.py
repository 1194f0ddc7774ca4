"""Checks the answers that callers send to waiting runs, and passes them to the run."""

from collections.abc import Sequence
from contextlib import aclosing

from errors import RequestError, RunExpired, RunNotFound, RunNotWaiting, ToolCallAnswered, ToolCallNotFound
from event_data import ApprovalResponse, BudgetResponse, ToolResult
from event_logs.base import EventLog
from event_logs.reading import events_in
from events import EventType
from services.agents.tool_calls import result_of
from services.intake.budget_bounds import bounds_of, check_totals
from services.intake.work import WorkFactory
from services.runs.live import LiveRuns
from services.runs.records import RunRecords
from services.runs.suspension import Answer, id_of
from services.runs.task import RunTask
from settings import Settings
from tool_models import ApprovalDecision, BudgetDecision, ClientToolResult

ANSWER_EVENTS = frozenset((EventType.APPROVAL_RESPONSE, EventType.BUDGET_RESPONSE, EventType.TOOL_RESULT))


class AnswerIntake:
    """Accepts approvals, decisions on budgets and the results of client tools."""

    def __init__(
        self, settings: Settings, log: EventLog, live: LiveRuns, records: RunRecords, work: WorkFactory
    ) -> None:
        self._settings = settings
        self._log = log
        self._live = live
        self._records = records
        self._work = work

    async def approve(self, owner: str, run_id: str, call_id: str, decision: ApprovalDecision) -> None:
        """Record a person's decision. Repeating it changes nothing.

        Raise `RunNotWaiting`, `ToolCallNotFound`, `ToolCallAnswered`, `InvalidRequest` for arguments that the tool
        doesn't accept, `McpServerFailed` or `ToolUnavailable` if they can't be checked, a `CapacityError`, or as
        `RunRecords.get` does.
        """
        answer = ApprovalResponse(
            tool_call_id=call_id, approved=decision.approved, arguments=decision.arguments, reason=decision.reason
        )
        task = await self._task(owner, run_id, [answer])
        if task is None:
            return
        if decision.arguments is not None and task.is_waiting and (name := task.tool_of(call_id)):
            request = await self._records.suspended_request(run_id)
            await self._work.check_arguments(task.snapshot(), request, name, decision.arguments)
        await self._answer(task, [answer])

    async def take_results(self, owner: str, run_id: str, results: Sequence[ClientToolResult]) -> None:
        """Record the results of client tools, all or none. Raise as `approve` does."""
        live = self._live.owned(owner, run_id)
        limit = self._settings.max_tool_result_bytes
        answers: list[Answer] = []
        for result in results:
            # A call that the run doesn't wait for has no name here. It is refused below unless it is a repeated one.
            name = None if live is None else live.tool_of(result.tool_call_id)
            answers.append(result_of(result.tool_call_id, name or "", result.content, limit, is_error=result.is_error))
        if task := await self._task(owner, run_id, answers):
            await self._answer(task, answers)

    async def decide_budget(self, owner: str, run_id: str, decision: BudgetDecision) -> None:
        """Record a person's decision on a budget that is spent. Repeating it changes nothing.

        Raise `RunNotWaiting`, `InvalidRequest` for totals that don't exceed what is spent, or exceed the operator's
        bounds, a `CapacityError`, or as `RunRecords.get` does.
        """
        check_totals(decision, bounds_of(self._settings))
        answer = BudgetResponse(
            approved=decision.approved,
            max_cost_usd=decision.max_cost_usd,
            max_total_tokens=decision.max_total_tokens,
        )
        if task := await self._task(owner, run_id, [answer]):
            await self._answer(task, [answer])

    async def _task(self, owner: str, run_id: str, answers: Sequence[Answer]) -> RunTask | None:
        """Return the run, or None if it has ended and has these answers already. Raise as `approve` does otherwise."""
        if task := self._live.owned(owner, run_id):
            return task
        await self._records.get(owner, run_id)  # raises if there is no such run
        await self._check_repeated(run_id, answers, RunNotWaiting())
        return None

    async def _answer(self, task: RunTask, answers: Sequence[Answer]) -> None:
        try:
            await task.answer(answers)
        except (RunNotWaiting, ToolCallNotFound) as refusal:
            await self._check_repeated(task.run_id, answers, refusal)

    async def _check_repeated(self, run_id: str, answers: Sequence[Answer], refusal: RequestError) -> None:
        """Raise `refusal` unless the log has all of these answers.

        So a caller that repeats a request, because the response was lost, gets the same response again. Raise
        `ToolCallAnswered` instead if the log has a different decision on a call. A budget may have others.
        """
        missing = {id_of(answer): answer for answer in answers}
        try:
            async with aclosing(events_in(self._log.read(run_id, 0, follow=False), ANSWER_EVENTS)) as events:
                async for event in events:
                    if isinstance(event.data, Answer) and (answer := missing.get(id_of(event.data))):
                        if _content(answer) == _content(event.data):
                            del missing[id_of(answer)]
                        elif isinstance(answer, ApprovalResponse) and isinstance(event.data, ApprovalResponse):
                            raise ToolCallAnswered
        except (RunNotFound, RunExpired):
            raise refusal from None
        if missing:
            raise refusal


def _content(answer: Answer) -> tuple[object, ...]:
    """Return the fields that two equal answers to a call have in common."""
    match answer:
        case ApprovalResponse(approved=approved, arguments=arguments, reason=reason):
            return approved, arguments, reason
        case BudgetResponse(approved=approved, max_cost_usd=dollars, max_total_tokens=tokens):
            return approved, dollars, tokens
        case ToolResult(content=content, is_error=is_error):
            return content, is_error
