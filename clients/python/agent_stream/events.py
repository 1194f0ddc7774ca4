"""The events of a run, as the service sends them: docs/events.md of the service describes each.

The keys of an event's `data` are fields of its class, after which `match` can be used:

    match event:
        case PartialOutput(text):
            print(text, end="")

An optional key that is absent is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from agent_stream.decoding import decode
from agent_stream.records import PendingItem, RestartReason, RunEnd, ToolSource, Usage


@dataclass(frozen=True, kw_only=True)
class Event:
    """The base of all events. `seq` counts 1, 2, 3 … within a run. `timestamp` is in UTC, as RFC 3339."""

    event: ClassVar[str]

    run_id: str
    seq: int
    timestamp: str


@dataclass(frozen=True)
class RunStarted(Event):
    """The first event of every run. `owner` is the caller that it belongs to, None while authentication is off."""

    event: ClassVar[Literal["run_started"]] = "run_started"

    model: str
    session_id: str | None = None
    owner: str | None = None


@dataclass(frozen=True)
class StepStarted(Event):
    """A model turn begins. `step` counts 1, 2, …"""

    event: ClassVar[Literal["step_started"]] = "step_started"

    step: int
    model: str


@dataclass(frozen=True)
class Thinking(Event):
    """The next piece of the model's reasoning."""

    event: ClassVar[Literal["thinking"]] = "thinking"

    content: str


@dataclass(frozen=True)
class PartialOutput(Event):
    """The next piece of the answer."""

    event: ClassVar[Literal["partial_output"]] = "partial_output"

    content: str


@dataclass(frozen=True)
class ToolUseDelta(Event):
    """The next piece of a tool call's arguments, as JSON text, while the model writes them."""

    event: ClassVar[Literal["tool_use_delta"]] = "tool_use_delta"

    tool_call_id: str
    name: str
    arguments_delta: str
    source: ToolSource
    server: str | None = None


@dataclass(frozen=True)
class ToolUse(Event):
    """A complete tool call. Text that is not a JSON object is in `invalid_arguments`."""

    event: ClassVar[Literal["tool_use"]] = "tool_use"

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    source: ToolSource
    server: str | None = None
    invalid_arguments: str | None = None


@dataclass(frozen=True)
class ApprovalRequest(Event):
    """A call needs a person's approval. Without a decision it is refused at `expires_at`."""

    event: ClassVar[Literal["approval_request"]] = "approval_request"

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    expires_at: str


@dataclass(frozen=True)
class Waiting(Event):
    """The run is suspended until each of these calls has an answer, or its budget, which is pending alone."""

    event: ClassVar[Literal["waiting"]] = "waiting"

    pending: list[PendingItem]


@dataclass(frozen=True)
class ApprovalResponse(Event):
    """The decision on a call. `arguments` are present if the person changed them."""

    event: ClassVar[Literal["approval_response"]] = "approval_response"

    tool_call_id: str
    approved: bool
    arguments: dict[str, Any] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class BudgetResponse(Event):
    """The decision on a budget, with its new totals. After a refusal the run ends with `budget_exceeded`."""

    event: ClassVar[Literal["budget_response"]] = "budget_response"

    approved: bool
    max_cost_usd: float | None = None
    max_total_tokens: int | None = None


@dataclass(frozen=True)
class ToolProgress(Event):
    """A progress report of a running tool."""

    event: ClassVar[Literal["tool_progress"]] = "tool_progress"

    tool_call_id: str
    message: str | None = None
    progress: float | None = None
    total: float | None = None


@dataclass(frozen=True)
class ToolResult(Event):
    """The result of a tool call, one for each `ToolUse`. It is `truncated` if the service has cut it."""

    event: ClassVar[Literal["tool_result"]] = "tool_result"

    tool_call_id: str
    name: str
    content: str
    is_error: bool
    truncated: bool
    duration_ms: int | None = None


@dataclass(frozen=True)
class Source(Event):
    """A web page that the answer cites, once for each URL. `Result.sources` has those that count."""

    event: ClassVar[Literal["source"]] = "source"

    url: str
    title: str | None = None
    snippet: str | None = None


@dataclass(frozen=True)
class StepRestarted(Event):
    """The step begins again: its thinking, text, calls and sources so far no longer count.

    A new `model` answers, if it has one. Clear what was printed of the step. `Run.text`, `Run.calls` and `Result` have
    only what came after it. `usage` is that of the dropped attempt, and a part of the step's.
    """

    event: ClassVar[Literal["step_restarted"]] = "step_restarted"

    step: int
    reason: RestartReason
    model: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True)
class StepFinished(Event):
    """A model turn has ended, and the calls of its tools as well."""

    event: ClassVar[Literal["step_finished"]] = "step_finished"

    step: int
    model: str
    finish_reason: str
    usage: Usage


@dataclass(frozen=True)
class RunWarning(Event):
    """Something was left out or lost that does not end the run."""

    event: ClassVar[Literal["warning"]] = "warning"

    code: str
    message: str


@dataclass(frozen=True)
class FinalOutput(Event):
    """The complete answer: the text of the last step.

    If the request has an `output_schema`, `data` is the answer's value, and `attempts` the number of answers until it
    matched.
    """

    event: ClassVar[Literal["final_output"]] = "final_output"

    content: str
    data: Any = None
    attempts: int | None = None


@dataclass(frozen=True)
class RunError(Event):
    """The error of a run that failed. `retry_after` is in seconds. `RunFailed` is raised after the last event."""

    event: ClassVar[Literal["error"]] = "error"

    code: str
    message: str
    retryable: bool
    request_id: str
    retry_after: int | None = None


@dataclass(frozen=True)
class Complete(Event):
    """The last event of every run. Times are in milliseconds from the run's start."""

    event: ClassVar[Literal["complete"]] = "complete"

    status: RunEnd
    usage: Usage
    steps: int
    duration_ms: int
    finish_reason: str | None = None
    time_to_first_token_ms: int | None = None


StreamEvent = (
    RunStarted
    | StepStarted
    | Thinking
    | PartialOutput
    | ToolUseDelta
    | ToolUse
    | ApprovalRequest
    | Waiting
    | ApprovalResponse
    | BudgetResponse
    | ToolProgress
    | ToolResult
    | Source
    | StepRestarted
    | StepFinished
    | RunWarning
    | FinalOutput
    | RunError
    | Complete
)

EVENT_CLASSES: Mapping[str, type[Event]] = {kind.event: kind for kind in get_args(StreamEvent)}


def event_of(frame: Mapping[str, Any]) -> StreamEvent | None:
    """Return the event in the JSON of a frame, or None if this version of the package doesn't know it."""
    kind = EVENT_CLASSES.get(frame["event"])
    if kind is None:
        return None
    event: StreamEvent = decode(kind, {**frame["data"], **{key: frame[key] for key in ("run_id", "seq", "timestamp")}})
    return event
