"""Folds the events of a run, up to its end or its wait, into one JSON answer."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime

from errors import AgentStreamError, InternalError, every_error
from event_data import (
    ApprovalResponse,
    Complete,
    FinalOutput,
    PartialOutput,
    PendingItem,
    RunError,
    RunStarted,
    RunWarning,
    Source,
    StepFinished,
    StepRestarted,
    StepStarted,
    Thinking,
    ToolResult,
    ToolUse,
    Waiting,
)
from event_logs.reading import events_in
from events import StreamEvent
from run_models import AgentResponse
from services.runs.task import RunTask
from tool_models import ToolCall
from usage_models import NO_USAGE

ERRORS_BY_CODE = {error.code: error for error in every_error()}


class Folded:
    """Collects a run's events. The output of a run without `final_output` is the text of its last step."""

    def __init__(self) -> None:
        self._started: RunStarted | None = None
        self._first_at = self._last_at = ""
        self._thinking: list[str] = []
        self._earlier_thinking = 0
        self._text: list[str] = []
        self._answered_by: str | None = None
        self._uses: dict[str, ToolUse] = {}
        self._step_calls: list[str] = []
        self._decisions: dict[str, ApprovalResponse] = {}
        self._results: dict[str, ToolResult] = {}
        self._sources: list[Source] = []
        self._earlier_sources = 0
        self._warnings: list[RunWarning] = []
        self._steps = 0
        self._usage = NO_USAGE
        self.pending: list[PendingItem] | None = None
        self._final: FinalOutput | None = None
        self._complete: Complete | None = None
        self.error: RunError | None = None

    def add(self, event: StreamEvent) -> None:
        """Add the next event."""
        self._first_at = self._first_at or event.timestamp
        self._last_at = event.timestamp
        match event.data:
            case PartialOutput(content=text):
                self._text.append(text)
            case Thinking(content=text):
                self._thinking.append(text)
            case StepStarted() as step:
                self._start_step(step)
            case StepRestarted() as restart:
                self._restart_step(restart)
            case StepFinished(usage=usage, model=model):
                self._usage += usage
                self._answered_by = model
            case ToolUse() as use:
                self._uses[use.tool_call_id] = use
                self._step_calls.append(use.tool_call_id)
            case ApprovalResponse() as decision:
                self._decisions[decision.tool_call_id] = decision
            case ToolResult() as result:
                self._results[result.tool_call_id] = result
            case Source() as source:
                self._sources.append(source)
            case FinalOutput() as final:
                self._final = final
            case RunWarning() as warning:
                self._warnings.append(warning)
            case RunStarted() as started:
                self._started = started
            case RunError() as error:
                self.error = error
            case Complete() as complete:
                self._complete = complete
            case _:
                pass

    def _start_step(self, step: StepStarted) -> None:
        self._steps = step.step
        self._answered_by = step.model
        self._earlier_thinking = len(self._thinking)
        self._earlier_sources = len(self._sources)
        self._step_calls.clear()
        self._text.clear()

    def _restart_step(self, restart: StepRestarted) -> None:
        """Drop what the step has said so far."""
        self._answered_by = restart.model or self._answered_by
        del self._thinking[self._earlier_thinking :]
        del self._sources[self._earlier_sources :]
        for call_id in self._step_calls:
            del self._uses[call_id]
        self._step_calls.clear()
        self._text.clear()

    def response(self, run_id: str) -> AgentResponse:
        """Return the JSON answer of a run that has ended or waits."""
        assert self._started is not None
        end = self._complete
        final = self._final or FinalOutput(content="".join(self._text))
        return AgentResponse(
            run_id=run_id,
            session_id=self._started.session_id,
            status="waiting" if end is None else end.status,
            output=final.content,
            data=final.data,
            attempts=final.attempts,
            thinking="".join(self._thinking),
            tool_calls=[self._call(use) for use in self._uses.values()],
            pending=self.pending,
            sources=self._sources or None,
            warnings=self._warnings or None,
            usage=self._usage if end is None else end.usage,
            model=self._started.model,
            answered_by=self._answered_by,
            finish_reason=None if end is None else end.finish_reason,
            steps=self._steps if end is None else end.steps,
            duration_ms=self._duration_ms if end is None else end.duration_ms,
        )

    @property
    def _duration_ms(self) -> int:
        return round((_time(self._last_at) - _time(self._first_at)) * 1000)

    def _call(self, use: ToolUse) -> ToolCall:
        result = self._results.get(use.tool_call_id)
        return ToolCall(
            **use.model_dump(exclude={"invalid_arguments"}),
            approval_response=self._decisions.get(use.tool_call_id),
            result=result and result.content,
            is_error=result and result.is_error,
        )


def _time(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


async def fold(pages: AsyncGenerator[bytes, None], run: RunTask | None) -> Folded:
    """Read a run's frames to their end or to its wait, and fold them. `run` is None if it has ended."""
    folded = Folded()
    async with aclosing(events_in(pages)) as events:
        async for event in events:
            folded.add(event)
            if run is not None and isinstance(event.data, Waiting):
                folded.pending = await run.pending_since(event.seq)
                if folded.pending is not None:
                    break
    return folded


def raised(error: RunError) -> AgentStreamError:
    """Return the exception for the `error` event that ended a run."""
    return ERRORS_BY_CODE.get(error.code, InternalError)(error.message, retry_after=error.retry_after)
