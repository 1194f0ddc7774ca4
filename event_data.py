"""Defines the data of every event of the native stream (contract v1). `events` has the JSON around it.

The classes are closed: no other key is ever sent. An optional key is omitted, never null. The exception is the three
counts of `Usage`, which are null if the model server reports none.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from closed_models import ABSENT, Closed, Data, Dollars, Maybe
from usage_models import Usage

ToolSource = Literal["python", "mcp", "hosted", "client"]
CallKind = Literal["approval", "client"]
RestartReason = Literal["fallback", "output_invalid", "blocked", "owner_lost"]
RunEnd = Literal["succeeded", "failed", "cancelled"]


class RunStarted(Closed):
    """The first event of every run. It is recorded before the response headers are sent.

    `owner` is the caller that the run belongs to. It is absent while authentication is off.
    """

    model: str
    session_id: Maybe[str] = None
    owner: Maybe[str] = None


class StepStarted(Closed):
    """A model turn begins. `step` counts 1, 2, …"""

    step: int
    model: str


class Thinking(Closed):
    """The next piece of the model's reasoning."""

    content: str


class PartialOutput(Closed):
    """The next piece of the answer."""

    content: str


class ToolUseDelta(Closed):
    """The next piece of a tool call's arguments, as JSON text, while the model writes them."""

    tool_call_id: str
    name: str
    arguments_delta: str
    source: ToolSource
    server: Maybe[str] = None


class ToolUse(Closed):
    """A complete tool call. Sent once for each call: at the end of the turn, or before the result of a hosted tool.

    Use these `arguments`, not the joined deltas, because some model servers send pieces twice. If the model's text is
    not a JSON object, it is in `invalid_arguments`.
    """

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    source: ToolSource
    server: Maybe[str] = None
    invalid_arguments: Maybe[str] = None


class ApprovalRequest(Closed):
    """A call needs a person's approval. Without a decision it is refused at `expires_at` (UTC, RFC 3339)."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    expires_at: str


class PendingCall(Closed):
    """A call that needs a person's approval (`approval`), or whose result the client has to send (`client`)."""

    tool_call_id: str
    name: str
    kind: CallKind


class PendingBudget(Closed):
    """The run's budget has too little left for another model turn. Without a decision, the run ends at `expires_at`.

    What is spent includes an estimate for each answer that was cut before its server counted it.
    """

    kind: Literal["budget"]
    spent_cost_usd: Maybe[Dollars] = None
    max_cost_usd: Maybe[Dollars] = None
    spent_tokens: int
    max_total_tokens: Maybe[int] = None
    expires_at: str


PendingItem = Annotated[PendingCall | PendingBudget, Field(discriminator="kind")]


class Waiting(Closed):
    """The run is suspended until each of these has an answer. A budget is pending alone."""

    pending: list[PendingItem]


class ApprovalResponse(Closed):
    """The decision on a call. `arguments` are present if the person changed them, and are used for the call."""

    tool_call_id: str
    approved: bool
    arguments: Maybe[dict[str, Any]] = None
    reason: Maybe[str] = None


class BudgetResponse(Closed):
    """The decision on a budget. With approval, the totals that are present replace those before."""

    approved: bool
    max_cost_usd: Maybe[Dollars] = None
    max_total_tokens: Maybe[int] = None


class ToolProgress(Closed):
    """A progress report of a running tool."""

    tool_call_id: str
    message: Maybe[str] = None
    progress: Maybe[float] = None
    total: Maybe[float] = None


class ToolResult(Closed):
    """The result of a tool call. Above MAX_TOOL_RESULT_BYTES it is cut and `truncated`.

    Each `tool_use` has one, except those that a `step_restarted` has dropped.
    """

    tool_call_id: str
    name: str
    content: str
    is_error: bool
    duration_ms: Maybe[int] = None
    truncated: bool


class Source(Closed):
    """A web page that the answer cites. Sent once for each URL of a run; `url` begins with http:// or https://.

    `title` and `snippet` are texts of the page, on one line each and cut, and not checked further: show them as text.
    """

    url: str
    title: Maybe[str] = None
    snippet: Maybe[str] = None


class StepRestarted(Closed):
    """The step begins again: its thinking, text, calls and sources so far no longer count.

    The step has no second `step_started`. Its calls so far get no more results. `model` is present if another model
    answers from here on. `usage` is that of the dropped attempt, as far as its server has reported it. It is part of
    the step's usage.
    """

    step: int
    reason: RestartReason
    model: Maybe[str] = None
    usage: Maybe[Usage] = None


class StepFinished(Closed):
    """A model turn has ended, and the calls of its tools as well. `model` is the one that answered."""

    step: int
    model: str
    finish_reason: str
    usage: Usage


class WarningCode(StrEnum):
    """Every code of a `warning` event. docs/errors.md explains them."""

    EMPTY_ANSWER = "empty_answer"
    HISTORY_CUT = "history_cut"
    MCP_AUTHORIZATION_REQUIRED = "mcp_authorization_required"
    MCP_SERVER_UNAVAILABLE = "mcp_server_unavailable"
    MCP_TOOL_LEFT_OUT = "mcp_tool_left_out"
    MODEL_FALLBACK = "model_fallback"
    MODEL_SUBSTITUTED = "model_substituted"
    PARAMETER_LEFT_OUT = "parameter_left_out"
    TOOLS_LEFT_OUT = "tools_left_out"


class RunWarning(Closed):
    """Something was left out or lost that does not end the run. Accept unknown codes: later versions add some."""

    code: Annotated[WarningCode, WithJsonSchema({"type": "string"})]
    message: str


class FinalOutput(Closed):
    """The complete answer: the joined `partial_output` of the last step, since its last `step_restarted`.

    If the request has an `output_schema`, `data` is the answer's value, which matches it, and `attempts` is the number
    of answers until then.
    """

    content: str
    data: Data = Field(default_factory=lambda: ABSENT)
    attempts: Maybe[int] = None


class RunError(Closed):
    """Why the run failed. Sent at most once. `retry_after` is in seconds."""

    code: str
    message: str
    retryable: bool
    request_id: str
    retry_after: Maybe[int] = None


class Complete(Closed):
    """The last event of every run, sent exactly once. Times are in milliseconds from the run's start, with waits."""

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
"""The data of any event."""
