"""Each event of the native stream (contract v1): its name, its data, and the frame's JSON around it.

Events are closed: a name or a key that is not here is never sent. Optional keys are left out, never null, but for the
three counts of `Usage`, which are null where the upstream reports none.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, WithJsonSchema


def without_null(schema: dict[str, Any]) -> None:
    """In the published schema, an optional key is one that may be absent, and never null."""
    for name, shape in schema.get("properties", {}).items():
        options = shape.get("anyOf", [])
        kept = [option for option in options if option != {"type": "null"}]
        if name in schema.get("required", ()) or kept == options:
            continue
        shape.pop("default", None)
        shape["anyOf"] = kept
        if len(kept) == 1:
            shape.update(shape.pop("anyOf")[0])


def with_examples(*examples: dict[str, JsonValue]) -> ConfigDict:
    """The configuration of a model whose published schema has these examples."""

    def publish(schema: dict[str, Any]) -> None:
        without_null(schema)
        schema["examples"] = list(examples)

    return ConfigDict(json_schema_extra=publish)


class Closed(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=without_null)


T = TypeVar("T")
Maybe = Annotated[T | None, Field(exclude_if=lambda value: value is None)]
"""An optional key: left out where there is nothing to say."""


class Usage(Closed):
    """Tokens counted by the upstream; of a run, the sum over its steps."""

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    reasoning_tokens: Maybe[int] = None
    cached_input_tokens: Maybe[int] = None

    def __add__(self, other: "Usage") -> "Usage":
        """The sum, in which a count that neither side reports stays unreported."""
        return Usage(**{name: _sum(getattr(self, name), getattr(other, name)) for name in Usage.model_fields})


NO_USAGE = Usage(input_tokens=None, output_tokens=None, total_tokens=None)


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


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
    TOOL_PROGRESS = "tool_progress"
    TOOL_RESULT = "tool_result"
    STEP_FINISHED = "step_finished"
    WARNING = "warning"
    FINAL_OUTPUT = "final_output"
    ERROR = "error"
    COMPLETE = "complete"


ToolSource = Literal["python", "mcp", "hosted", "client"]
PendingKind = Literal["approval", "client"]
RunEnd = Literal["succeeded", "failed", "cancelled"]


class RunStarted(Closed):
    """First, always; there before the response headers leave."""

    model: str
    session_id: Maybe[str] = None


class StepStarted(Closed):
    """A model turn begins; `step` counts 1, 2, …"""

    step: int
    model: str


class Thinking(Closed):
    """The next piece of the model's reasoning."""

    content: str


class PartialOutput(Closed):
    """The next piece of the answer."""

    content: str


class ToolUseDelta(Closed):
    """The next piece of a tool call's arguments (JSON text) while the model writes them."""

    tool_call_id: str
    name: str
    arguments_delta: str
    source: ToolSource
    server: Maybe[str] = None


class ToolUse(Closed):
    """A tool call, complete; once per call, at the end of the turn or with the result of a hosted tool.

    `arguments` are what counts, since some servers send them twice in the deltas. What is no JSON object is in
    `invalid_arguments` as text.
    """

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    source: ToolSource
    server: Maybe[str] = None
    invalid_arguments: Maybe[str] = None


class ApprovalRequest(Closed):
    """A person is asked whether a call may be made; at `expires_at` (UTC, RFC 3339) it is refused."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    expires_at: str


class PendingCall(Closed):
    """A call that a person has to approve (`approval`), or whose result the caller's page has to send (`client`)."""

    tool_call_id: str
    name: str
    kind: PendingKind


class Waiting(Closed):
    """Nothing goes on until each of these calls has its answer."""

    pending: list[PendingCall]


class ApprovalResponse(Closed):
    """What was decided. `arguments` are those of the call where a person has changed them."""

    tool_call_id: str
    approved: bool
    arguments: Maybe[dict[str, Any]] = None
    reason: Maybe[str] = None


class ToolProgress(Closed):
    """A running tool reports."""

    tool_call_id: str
    message: Maybe[str] = None
    progress: Maybe[float] = None
    total: Maybe[float] = None


class ToolResult(Closed):
    """What a tool call gave; once per `tool_use`. Content above MAX_TOOL_RESULT_BYTES is cut and marked so."""

    tool_call_id: str
    name: str
    content: str
    is_error: bool
    duration_ms: Maybe[int] = None
    truncated: bool


class StepFinished(Closed):
    """The model turn and its tools are over."""

    step: int
    model: str
    finish_reason: str
    usage: Usage


class WarningCode(StrEnum):
    """Every code of a `warning` event; docs/errors.md has the table."""

    EMPTY_ANSWER = "empty_answer"
    HISTORY_CUT = "history_cut"
    MCP_AUTHORIZATION_REQUIRED = "mcp_authorization_required"
    MCP_SERVER_UNAVAILABLE = "mcp_server_unavailable"
    MCP_TOOL_LEFT_OUT = "mcp_tool_left_out"
    MODEL_SUBSTITUTED = "model_substituted"
    PARAMETER_LEFT_OUT = "parameter_left_out"
    TOOLS_LEFT_OUT = "tools_left_out"


class RunWarning(Closed):
    """Something was left out or lost that doesn't stop the run. Clients take any code: more will come."""

    code: Annotated[WarningCode, WithJsonSchema({"type": "string"})]
    message: str


class FinalOutput(Closed):
    """The whole answer: the joined `partial_output` of the last step."""

    content: str


class RunError(Closed):
    """Why the run failed; at most one. `retry_after` is in seconds."""

    code: str
    message: str
    retryable: bool
    request_id: str
    retry_after: Maybe[int] = None


class Complete(Closed):
    """Last, exactly one, on every path. Times are in milliseconds from the start of the run, its waits included."""

    status: RunEnd
    finish_reason: Maybe[str] = None
    usage: Usage
    steps: int
    duration_ms: int
    time_to_first_token_ms: Maybe[int] = None


EventData = (
    RunStarted
    | StepStarted
    | Thinking
    | PartialOutput
    | ToolUseDelta
    | ToolUse
    | ApprovalRequest
    | Waiting
    | ApprovalResponse
    | ToolProgress
    | ToolResult
    | StepFinished
    | RunWarning
    | FinalOutput
    | RunError
    | Complete
)

EVENT_TYPES: dict[type[EventData], EventType] = {
    RunStarted: EventType.RUN_STARTED,
    StepStarted: EventType.STEP_STARTED,
    Thinking: EventType.THINKING,
    PartialOutput: EventType.PARTIAL_OUTPUT,
    ToolUseDelta: EventType.TOOL_USE_DELTA,
    ToolUse: EventType.TOOL_USE,
    ApprovalRequest: EventType.APPROVAL_REQUEST,
    Waiting: EventType.WAITING,
    ApprovalResponse: EventType.APPROVAL_RESPONSE,
    ToolProgress: EventType.TOOL_PROGRESS,
    ToolResult: EventType.TOOL_RESULT,
    StepFinished: EventType.STEP_FINISHED,
    RunWarning: EventType.WARNING,
    FinalOutput: EventType.FINAL_OUTPUT,
    RunError: EventType.ERROR,
    Complete: EventType.COMPLETE,
}


class Event(Closed):
    """What every frame's JSON has. `seq` counts 1, 2, 3 … in each run and is the frame's SSE id."""

    run_id: str
    seq: int = Field(ge=1)
    timestamp: str = Field(description="UTC, RFC 3339 with milliseconds.", examples=["2026-11-22T10:00:00.123Z"])


class RunStartedEvent(Event):
    """`run_started`"""

    event: Literal["run_started"]
    data: RunStarted


class StepStartedEvent(Event):
    """`step_started`"""

    event: Literal["step_started"]
    data: StepStarted


class ThinkingEvent(Event):
    """`thinking`"""

    event: Literal["thinking"]
    data: Thinking


class PartialOutputEvent(Event):
    """`partial_output`"""

    event: Literal["partial_output"]
    data: PartialOutput


class ToolUseDeltaEvent(Event):
    """`tool_use_delta`"""

    event: Literal["tool_use_delta"]
    data: ToolUseDelta


class ToolUseEvent(Event):
    """`tool_use`"""

    event: Literal["tool_use"]
    data: ToolUse


class ApprovalRequestEvent(Event):
    """`approval_request`"""

    event: Literal["approval_request"]
    data: ApprovalRequest


class WaitingEvent(Event):
    """`waiting`"""

    event: Literal["waiting"]
    data: Waiting


class ApprovalResponseEvent(Event):
    """`approval_response`"""

    event: Literal["approval_response"]
    data: ApprovalResponse


class ToolProgressEvent(Event):
    """`tool_progress`"""

    event: Literal["tool_progress"]
    data: ToolProgress


class ToolResultEvent(Event):
    """`tool_result`"""

    event: Literal["tool_result"]
    data: ToolResult


class StepFinishedEvent(Event):
    """`step_finished`"""

    event: Literal["step_finished"]
    data: StepFinished


class RunWarningEvent(Event):
    """`warning`"""

    event: Literal["warning"]
    data: RunWarning


class FinalOutputEvent(Event):
    """`final_output`"""

    event: Literal["final_output"]
    data: FinalOutput


class RunErrorEvent(Event):
    """`error`"""

    event: Literal["error"]
    data: RunError


class CompleteEvent(Event):
    """`complete`"""

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
    | ToolProgressEvent
    | ToolResultEvent
    | StepFinishedEvent
    | RunWarningEvent
    | FinalOutputEvent
    | RunErrorEvent
    | CompleteEvent,
    Field(discriminator="event"),
]

STREAM_EVENT: TypeAdapter[StreamEvent] = TypeAdapter(StreamEvent)
