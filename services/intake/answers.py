"""The answers that callers send to runs that wait."""

from collections.abc import Sequence
from contextlib import aclosing

from errors import RequestError, RunExpired, RunNotFound, RunNotWaiting, ToolCallAnswered, ToolCallNotFound
from event_logs.base import EventLog
from event_logs.reading import events_in
from events import ApprovalResponse, EventType
from services.agents.tool_calls import result_of
from services.intake.work import WorkFactory
from services.runs.live import LiveRuns
from services.runs.records import RunRecords
from services.runs.suspension import Answer
from services.runs.task import RunTask
from settings import Settings
from tool_models import ApprovalDecision, ClientToolResult

ANSWERS = frozenset((EventType.APPROVAL_RESPONSE, EventType.TOOL_RESULT))


class AnswerIntake:
    """Takes what runs wait for."""

    def __init__(
        self, settings: Settings, log: EventLog, live: LiveRuns, records: RunRecords, work: WorkFactory
    ) -> None:
        self._settings = settings
        self._log = log
        self._live = live
        self._records = records
        self._work = work

    async def approve(self, run_id: str, call_id: str, decision: ApprovalDecision) -> None:
        """Take a person's decision; the same one again changes nothing.

        Raise `RunNotWaiting`, `ToolCallNotFound`, `ToolCallAnswered`, `InvalidRequest` for arguments that the tool
        doesn't take, `McpServerFailed` or `ToolUnavailable` where that can't be told, a `CapacityError`, or as
        `RunRecords.get` does.
        """
        answer = ApprovalResponse(
            tool_call_id=call_id, approved=decision.approved, arguments=decision.arguments, reason=decision.reason
        )
        task = await self._task(run_id, [answer])
        if task is None:
            return
        if decision.arguments is not None and task.is_waiting and (name := task.inbox.name_of(call_id)):
            asked = await self._records.suspended_request(run_id)
            await self._work.check_arguments(task.snapshot(), asked, name, decision.arguments)
        await self._answer(task, [answer])

    async def take_results(self, run_id: str, results: Sequence[ClientToolResult]) -> None:
        """Take what client tools gave, all or none. Raise as `approve` does."""
        going = self._live.get(run_id)
        most = self._settings.max_tool_result_bytes
        answers: list[Answer] = [
            result_of(
                result.tool_call_id,
                (going and going.inbox.name_of(result.tool_call_id)) or "",  # nobody waits for a call without one
                result.content,
                most,
                is_error=result.is_error,
            )
            for result in results
        ]
        if task := await self._task(run_id, answers):
            await self._answer(task, answers)

    async def _task(self, run_id: str, answers: Sequence[Answer]) -> RunTask | None:
        """The run; None where it has ended, and got these answers before. Raise as `approve` does where it did not."""
        if task := self._live.get(run_id):
            return task
        await self._records.get(run_id)  # there may be no such run
        await self._check_repeated(run_id, answers, RunNotWaiting())
        return None

    async def _answer(self, task: RunTask, answers: Sequence[Answer]) -> None:
        try:
            await task.answer(answers)
        except (RunNotWaiting, ToolCallNotFound) as refusal:
            await self._check_repeated(task.run_id, answers, refusal)

    async def _check_repeated(self, run_id: str, answers: Sequence[Answer], refusal: RequestError) -> None:
        """Raise the refusal unless the run has got all of these answers before.

        Raise `ToolCallAnswered` instead where a person has decided otherwise.
        """
        wanted = {answer.tool_call_id: answer for answer in answers}
        try:
            async with aclosing(events_in(self._log.read(run_id, 0, follow=False), ANSWERS)) as events:
                async for event in events:
                    if isinstance(event.data, Answer) and (answer := wanted.get(event.data.tool_call_id)):
                        if _said(answer) == _said(event.data):
                            del wanted[answer.tool_call_id]
                        elif isinstance(answer, ApprovalResponse) and isinstance(event.data, ApprovalResponse):
                            raise ToolCallAnswered
        except (RunNotFound, RunExpired):
            raise refusal from None
        if wanted:
            raise refusal


def _said(answer: Answer) -> tuple[object, ...]:
    """What tells an answer from another one to the same call."""
    if isinstance(answer, ApprovalResponse):
        return answer.approved, answer.arguments, answer.reason
    return answer.content, answer.is_error
