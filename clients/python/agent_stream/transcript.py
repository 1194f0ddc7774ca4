"""The part of a run that has been read: its answer so far, its calls, the calls that it waits for, and how it ended."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from agent_stream.errors import RunFailed, incomplete
from agent_stream.events import (
    ApprovalResponse,
    BudgetResponse,
    Complete,
    FinalOutput,
    PartialOutput,
    RunError,
    RunStarted,
    RunWarning,
    Source,
    StepFinished,
    StepRestarted,
    StepStarted,
    StreamEvent,
    Thinking,
    ToolResult,
    ToolUse,
    Waiting,
)
from agent_stream.partial_json import partial_value
from agent_stream.records import (
    CitedPage,
    Decision,
    ErrorInfo,
    PendingBudget,
    PendingCall,
    PendingItem,
    RunEnd,
    RunRecord,
    ToolCall,
    Usage,
)

NO_USAGE = Usage(None, None, None)


@dataclass(frozen=True)
class Result:
    """A run that has ended or waits, with the content of its stream: what POST /api/agent/execute returns.

    `output` is the text of the last step, and `answered_by` the model that wrote it. With an `output_schema`, `data` is
    the value of `output`, and `attempts` the number of answers until it matched. The run waits for the answers to
    `pending` if there are any. Times are in milliseconds.
    """

    run_id: str
    status: RunEnd | Literal["waiting"]
    output: str
    thinking: str
    tool_calls: list[ToolCall]
    usage: Usage
    model: str
    steps: int
    duration_ms: int
    session_id: str | None = None
    pending: list[PendingItem] | None = None
    sources: list[CitedPage] | None = None
    warnings: list[RunWarning] | None = None
    finish_reason: str | None = None
    answered_by: str | None = None
    data: Any = None
    attempts: int | None = None


class Transcript:
    """Collects a run's events after the number `after`."""

    def __init__(self, after: int = 0) -> None:
        self.last_seq = after
        self.pending: dict[str, PendingCall] = {}
        self.budget: PendingBudget | None = None
        self.calls: dict[str, ToolCall] = {}
        self.usage = NO_USAGE
        self.end: RunEnd | None = None
        self.failure: ErrorInfo | None = None
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._earlier_thinking = 0
        self._step_calls: list[str] = []
        self._sources: list[CitedPage] = []
        self._earlier_sources = 0
        self._answered_by: str | None = None
        self._warnings: list[RunWarning] = []
        self._steps = 0
        self._started: RunStarted | None = None
        self._final: FinalOutput | None = None
        self._complete: Complete | None = None
        self._first_at = self._last_at = ""

    @property
    def text(self) -> str:
        """The text of the last step, since its last restart."""
        return "".join(self._text)

    @property
    def data(self) -> Any:
        """The value of the answer: the checked one, or else as much of it as has been written."""
        return partial_value(self.text) if self._final is None else self._final.data

    @property
    def is_waiting(self) -> bool:
        """Whether the run waits for answers to calls, or for its budget."""
        return bool(self.pending) or self.budget is not None

    @property
    def lacks_error(self) -> bool:
        """Whether the run has failed, and its error came before the events that were read."""
        return self.end == "failed" and self.failure is None

    def add(self, event: StreamEvent) -> None:
        """Add the next event."""
        self._first_at = self._first_at or event.timestamp
        self._last_at = event.timestamp
        self._add_answer(event)
        self._add_call(event)
        match event:
            case RunStarted():
                self._started = event
            case StepFinished(usage=usage, model=model):
                self.usage = total(self.usage, usage)
                self._answered_by = model
            case RunWarning():
                self._warnings.append(event)
            case RunError():
                self.failure = ErrorInfo(
                    event.code, event.message, event.retryable, event.request_id, event.retry_after, event.run_id
                )
            case Complete(status=status, usage=usage):
                self._complete = event
                self.end = status
                self.usage = usage

    def catch_up(self, run: RunRecord) -> None:
        """Take what the run still waits for and, if there are no more events to read, its status."""
        pending = _calls(run.pending)
        budget = _budget(run.pending)
        if run.last_seq > self.last_seq:
            self.pending = {call_id: call for call_id, call in self.pending.items() if call_id in pending}
            self.budget = budget if self.budget == budget else None
        elif run.status == "waiting":
            self.pending, self.budget = pending, budget
        elif run.status in ("succeeded", "failed", "cancelled"):
            self.pending, self.budget = {}, None
            self.end = run.status
            self.failure = run.error and replace(run.error, run_id=run.run_id)
            self.usage = run.usage or NO_USAGE

    def answered(self, call_id: str | None) -> None:
        """Note that a call has its answer, or the budget if there is no id."""
        if call_id is None:
            self.budget = None
        else:
            self.pending.pop(call_id, None)

    def raise_failure(self, run_id: str | None) -> None:
        """Raise `RunFailed` if the run has failed."""
        if self.end == "failed":
            raise RunFailed(self.failure) if self.failure else incomplete(run_id)

    def result(self) -> Result | None:
        """Return the run that has ended or waits, or None if it was not read from its beginning."""
        end = self._complete
        if self._started is None or not (end or self.is_waiting):
            return None
        return Result(
            run_id=self._started.run_id,
            status=end.status if end else "waiting",
            output=self.text,
            thinking="".join(self._thinking),
            tool_calls=list(self.calls.values()),
            usage=self.usage,
            model=self._started.model,
            steps=end.steps if end else self._steps,
            duration_ms=end.duration_ms if end else self._duration_ms,
            session_id=self._started.session_id,
            pending=None if end else [*self.pending.values(), *([self.budget] if self.budget else [])],
            sources=self._sources or None,
            warnings=self._warnings or None,
            finish_reason=end.finish_reason if end else None,
            answered_by=self._answered_by,
            data=self._final.data if self._final else None,
            attempts=self._final.attempts if self._final else None,
        )

    def _add_answer(self, event: StreamEvent) -> None:
        match event:
            case Thinking(content=text):
                self._thinking.append(text)
            case PartialOutput(content=text):
                self._text.append(text)
            case StepStarted(step=step, model=model):
                self._steps = step
                self._answered_by = model
                self._earlier_thinking = len(self._thinking)
                self._earlier_sources = len(self._sources)
                self._text.clear()
            case StepRestarted(model=model):
                self._answered_by = model or self._answered_by
                del self._thinking[self._earlier_thinking :]
                del self._sources[self._earlier_sources :]
                self._text.clear()
            case Source(url, title, snippet):
                self._sources.append(CitedPage(url, title, snippet))
            case FinalOutput(content=text):
                self._text = [text]
                self._final = event

    def _add_call(self, event: StreamEvent) -> None:
        match event:
            case StepStarted():
                self._step_calls.clear()
            case StepRestarted():
                for call_id in self._step_calls:
                    del self.calls[call_id]
                self._step_calls.clear()
            case ToolUse(tool_call_id=call_id):
                self._step_calls.append(call_id)
                self.calls[call_id] = ToolCall(call_id, event.name, event.arguments, event.source, event.server)
            case ToolResult(tool_call_id=call_id):
                self.pending.pop(call_id, None)
                if call := self.calls.get(call_id):
                    self.calls[call_id] = replace(call, result=event.content, is_error=event.is_error)
            case ApprovalResponse(tool_call_id=call_id):
                self.pending.pop(call_id, None)
                if call := self.calls.get(call_id):
                    decision = Decision(call_id, event.approved, event.arguments, event.reason)
                    self.calls[call_id] = replace(call, approval_response=decision)
            case Waiting(pending=pending):
                self.pending, self.budget = _calls(pending), _budget(pending)
            case BudgetResponse():
                self.budget = None
            case Complete():
                self.pending, self.budget = {}, None

    @property
    def _duration_ms(self) -> int:
        took = datetime.fromisoformat(self._last_at) - datetime.fromisoformat(self._first_at)
        return round(took.total_seconds() * 1000)


def _calls(pending: Iterable[PendingItem] | None) -> dict[str, PendingCall]:
    return {item.tool_call_id: item for item in pending or () if isinstance(item, PendingCall)}


def _budget(pending: Iterable[PendingItem] | None) -> PendingBudget | None:
    return next((item for item in pending or () if isinstance(item, PendingBudget)), None)


def total(first: Usage, second: Usage) -> Usage:
    """Return the sum of two usages. A count that neither of them has is None."""
    return Usage(**{name: _sum(value, getattr(second, name)) for name, value in vars(first).items()})


def _sum(first: int | None, second: int | None) -> int | None:
    return second if first is None else first if second is None else first + second
