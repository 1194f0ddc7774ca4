"""The JSON objects that the service returns: runs, sessions, messages, models, tools and MCP servers.

Times are in UTC, as RFC 3339. An optional key that is absent is None.
"""

from dataclasses import dataclass
from typing import Any, Literal

ToolSource = Literal["python", "mcp", "hosted", "client"]
RestartReason = Literal["fallback", "output_invalid", "blocked", "owner_lost"]
RunEnd = Literal["succeeded", "failed", "cancelled"]
RunStatus = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled"]
ListSource = Literal["upstream", "stale", "builtin"]
Content = str | list[dict[str, Any]]
"""Text, or a list of parts, such as `{"type": "text", "text": …}` and `{"type": "image", "url": …}`."""


@dataclass(frozen=True)
class Usage:
    """Token counts as the model server reports them, and their cost in US dollars. None for what isn't known."""

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    reasoning_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cost_usd: float | None = None


@dataclass(frozen=True)
class PendingCall:
    """A call that needs a person's approval (`approval`), or whose result the client has to send (`client`)."""

    tool_call_id: str
    name: str
    kind: Literal["approval", "client"]


@dataclass(frozen=True)
class PendingBudget:
    """A budget that has too little left for another model turn. Without a decision, the run ends at `expires_at`.

    What is spent includes an estimate for each answer that was cut before its server counted it.
    """

    kind: Literal["budget"]
    spent_tokens: int
    expires_at: str
    max_total_tokens: int | None = None
    spent_cost_usd: float | None = None
    max_cost_usd: float | None = None


PendingItem = PendingCall | PendingBudget


@dataclass(frozen=True)
class Decision:
    """A person's decision on a call. `arguments` are present if the person changed them, and are used for the call."""

    tool_call_id: str
    approved: bool
    arguments: dict[str, Any] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class ToolCall:
    """A tool call of a run, with its result. `arguments` are the model's."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    source: ToolSource
    server: str | None = None
    approval_response: Decision | None = None
    result: str | None = None
    is_error: bool | None = None


@dataclass(frozen=True)
class CitedPage:
    """A web page that an answer cites. `title` and `snippet` are its texts: show them as text, never as HTML."""

    url: str
    title: str | None = None
    snippet: str | None = None


@dataclass(frozen=True)
class FieldError:
    """A field of a request that is not valid: `loc` is its path, `message` says how to correct it."""

    loc: str
    message: str


@dataclass(frozen=True)
class ErrorInfo:
    """An error. `run_id` is the run that failed or that conflicts with the request. `retry_after` is in seconds."""

    code: str
    message: str
    retryable: bool
    request_id: str
    retry_after: int | None = None
    run_id: str | None = None
    details: list[FieldError] | None = None


@dataclass(frozen=True)
class RunRecord:
    """A run as the service lists it. `last_seq` is the number of its last event so far.

    `model` is the one that was asked for, and `answered_by` the one that the latest step's answer is from.
    """

    run_id: str
    status: RunStatus
    model: str
    created_at: str
    last_seq: int
    on_disconnect: Literal["cancel", "continue"]
    session_id: str | None = None
    parent_run_id: str | None = None
    finished_at: str | None = None
    metadata: dict[str, str] | None = None
    pending: list[PendingItem] | None = None
    answered_by: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    steps: int | None = None
    error: ErrorInfo | None = None


@dataclass(frozen=True)
class RunList:
    """A page of runs, the latest first. The last page has no `next_cursor`."""

    runs: list[RunRecord]
    next_cursor: str | None = None


@dataclass(frozen=True)
class Session:
    """A conversation. `status` is that of its latest run, `head_run_id`. `usage` is the sum over its runs."""

    session_id: str
    created_at: str
    updated_at: str
    usage: Usage
    title: str | None = None
    metadata: dict[str, str] | None = None
    head_run_id: str | None = None
    status: RunStatus | None = None


@dataclass(frozen=True)
class SessionList:
    """A page of sessions, the most recently used first. The last page has no `next_cursor`."""

    sessions: list[Session]
    next_cursor: str | None = None


@dataclass(frozen=True)
class FunctionCall:
    """A tool call in a message of a session. `arguments` are the model's."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    source: ToolSource | None = None
    server: str | None = None
    approval_response: Decision | None = None
    result: str | None = None
    is_error: bool | None = None


@dataclass(frozen=True)
class SessionMessage:
    """A message of a session. `parent_id` is the previous message of its branch.

    `status`, `answered_by` and `error` are those of its run. With `attempts`, `data` is the checked value of `content`.
    """

    message_id: str
    run_id: str
    role: Literal["user", "assistant", "tool"]
    content: Content | None
    status: RunStatus
    parent_id: str | None = None
    thinking: str | None = None
    tool_calls: list[FunctionCall] | None = None
    tool_call_id: str | None = None
    is_error: bool | None = None
    sources: list[CitedPage] | None = None
    data: Any = None
    attempts: int | None = None
    answered_by: str | None = None
    error: ErrorInfo | None = None


@dataclass(frozen=True)
class MessageList:
    """A page of messages in order. The last page has no `next_cursor`."""

    messages: list[SessionMessage]
    next_cursor: str | None = None


PriceSource = Literal["settings", "server", "snapshot"]


@dataclass(frozen=True)
class LongInputPrices:
    """US dollars per million tokens, for all tokens of a request with more than `above_input_tokens` of input."""

    input_per_million: float
    output_per_million: float
    above_input_tokens: int
    cached_input_per_million: float | None = None
    cache_write_per_million: float | None = None
    reasoning_per_million: float | None = None


@dataclass(frozen=True)
class Pricing:
    """US dollars per million tokens, and where the price is from.

    Without a price of their own, tokens cost what other input or output does. `per_request` is in US dollars.
    """

    input_per_million: float
    output_per_million: float
    source: PriceSource
    cached_input_per_million: float | None = None
    cache_write_per_million: float | None = None
    reasoning_per_million: float | None = None
    per_request: float | None = None
    long_input: list[LongInputPrices] | None = None


@dataclass(frozen=True)
class ModelInfo:
    """A model that a request can name. Sizes are in tokens."""

    id: str
    provider: str
    name: str | None = None
    description: str | None = None
    capabilities: dict[str, bool] | None = None
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    pricing: Pricing | None = None


@dataclass(frozen=True)
class ModelList:
    """The models on offer. `problem` says why a model server's list could not be fetched."""

    source: ListSource
    models: list[ModelInfo]
    default_model: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class ToolInfo:
    """A tool of the service. `parameters` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]
    approval: bool
    idempotent: bool


@dataclass(frozen=True)
class ToolList:
    """The Python tools of the service. `default` are those of a request without `tools`."""

    tools: list[ToolInfo]
    default: list[str]


@dataclass(frozen=True)
class McpServerInfo:
    """An MCP server. `server` is the value to put into a request's `mcp_servers`."""

    server: str
    name: str
    configured: bool
    description: str | None = None
    tool_count: int | None = None
    needs_authorization: bool | None = None


@dataclass(frozen=True)
class McpServerList:
    """The MCP servers on offer, the configured ones first."""

    source: ListSource
    servers: list[McpServerInfo]


@dataclass(frozen=True)
class McpToolList:
    """The tools of an MCP server, under the names that the model sees."""

    tools: list[ToolInfo]
