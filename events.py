"""Defines every event of the native stream (contract v1): its name, and the JSON around its data, `event_data`.

The union is closed: no other name and no other key is ever sent.
"""

from enum import StrEnum
from typing import Annotated, Literal, get_args

from pydantic import Field, TypeAdapter

from closed_models import Closed
from event_data import (
    ApprovalRequest,
    ApprovalResponse,
    BudgetResponse,
    Complete,
    EventData,
    FinalOutput,
    PartialOutput,
    RunError,
    RunStarted,
    RunWarning,
    Source,
    StepFinished,
    StepRestarted,
    StepStarted,
    Thinking,
    ToolProgress,
    ToolResult,
    ToolUse,
    ToolUseDelta,
    Waiting,
)


class EventType(StrEnum):
    """The names of the native events."""

    RUN_STARTED = "run_started"
    STEP_STARTED = "step_started"
    THINKING = "thinking"
    PARTIAL_OUTPUT = "partial_output"
    TOOL_USE_DELTA = "tool_use_delta"
    TOOL_USE = "tool_use"
    APPROVAL_REQUEST = "approval_request"
    WAITING = "waiting"
    APPROVAL_RESPONSE = "approval_response"
    BUDGET_RESPONSE = "budget_response"
    TOOL_PROGRESS = "tool_progress"
    TOOL_RESULT = "tool_result"
    SOURCE = "source"
    STEP_RESTARTED = "step_restarted"
    STEP_FINISHED = "step_finished"
    WARNING = "warning"
    FINAL_OUTPUT = "final_output"
    ERROR = "error"
    COMPLETE = "complete"


class Event(Closed):
    """The keys of every event. `seq` counts 1, 2, 3 … within a run and is the SSE id of the frame."""

    run_id: str
    seq: int = Field(ge=1)
    timestamp: str = Field(
        description="The time in UTC, as RFC 3339 with milliseconds.", examples=["2026-11-22T10:00:00.123Z"]
    )


class RunStartedEvent(Event):
    """The event `run_started`."""

    event: Literal["run_started"]
    data: RunStarted


class StepStartedEvent(Event):
    """The event `step_started`."""

    event: Literal["step_started"]
    data: StepStarted


class ThinkingEvent(Event):
    """The event `thinking`."""

    event: Literal["thinking"]
    data: Thinking


class PartialOutputEvent(Event):
    """The event `partial_output`."""

    event: Literal["partial_output"]
    data: PartialOutput


class ToolUseDeltaEvent(Event):
    """The event `tool_use_delta`."""

    event: Literal["tool_use_delta"]
    data: ToolUseDelta


class ToolUseEvent(Event):
    """The event `tool_use`."""

    event: Literal["tool_use"]
    data: ToolUse


class ApprovalRequestEvent(Event):
    """The event `approval_request`."""

    event: Literal["approval_request"]
    data: ApprovalRequest


class WaitingEvent(Event):
    """The event `waiting`."""

    event: Literal["waiting"]
    data: Waiting


class ApprovalResponseEvent(Event):
    """The event `approval_response`."""

    event: Literal["approval_response"]
    data: ApprovalResponse


class BudgetResponseEvent(Event):
    """The event `budget_response`."""

    event: Literal["budget_response"]
    data: BudgetResponse


class ToolProgressEvent(Event):
    """The event `tool_progress`."""

    event: Literal["tool_progress"]
    data: ToolProgress


class ToolResultEvent(Event):
    """The event `tool_result`."""

    event: Literal["tool_result"]
    data: ToolResult


class SourceEvent(Event):
    """The event `source`."""

    event: Literal["source"]
    data: Source


class StepRestartedEvent(Event):
    """The event `step_restarted`."""

    event: Literal["step_restarted"]
    data: StepRestarted


class StepFinishedEvent(Event):
    """The event `step_finished`."""

    event: Literal["step_finished"]
    data: StepFinished


class RunWarningEvent(Event):
    """The event `warning`."""

    event: Literal["warning"]
    data: RunWarning


class FinalOutputEvent(Event):
    """The event `final_output`."""

    event: Literal["final_output"]
    data: FinalOutput


class RunErrorEvent(Event):
    """The event `error`."""

    event: Literal["error"]
    data: RunError


class CompleteEvent(Event):
    """The event `complete`."""

    event: Literal["complete"]
    data: Complete


StreamEvent = Annotated[
    RunStartedEvent
    | StepStartedEvent
    | ThinkingEvent
    | PartialOutputEvent
    | ToolUseDeltaEvent
    | ToolUseEvent
    | ApprovalRequestEvent
    | WaitingEvent
    | ApprovalResponseEvent
    | BudgetResponseEvent
    | ToolProgressEvent
    | ToolResultEvent
    | SourceEvent
    | StepRestartedEvent
    | StepFinishedEvent
    | RunWarningEvent
    | FinalOutputEvent
    | RunErrorEvent
    | CompleteEvent,
    Field(discriminator="event"),
]

STREAM_EVENT: TypeAdapter[StreamEvent] = TypeAdapter(StreamEvent)

EVENT_TYPES: dict[type[EventData], EventType] = {
    event.model_fields["data"].annotation: EventType(get_args(event.model_fields["event"].annotation)[0])
    for event in get_args(get_args(StreamEvent)[0])
}
"""The name of each event by the class of its data, read from the classes of `StreamEvent`."""
