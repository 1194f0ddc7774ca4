"""What callers send and what they get back that is not an event. Times are RFC 3339 in UTC, with milliseconds."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import uuid4

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from events import Closed, Maybe, PendingCall, RunEnd, RunError, RunWarning, ToolSource, Usage, with_examples
from events import EventType as EventType  # so that callers find the whole contract here, too
from events import StreamEvent as StreamEvent
from image_urls import ImageUrl
from tool_models import Asked, ClientTool, McpServerRef, ServerName, ToolName

OnDisconnect = Literal["cancel", "continue"]
Multitask = Literal["reject", "enqueue", "interrupt"]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]
MAX_METADATA = 16


def _few(value: Any) -> Any:
    """Too many are one fault, whatever they are."""
    if isinstance(value, dict) and len(value) > MAX_METADATA:
        raise ValueError(f"send at most {MAX_METADATA} keys")
    return value


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=MAX_METADATA),
    BeforeValidator(_few),
]


def now(offset_s: float = 0) -> str:
    """The time, so many seconds from now, in the one form in which it is stored and sent."""
    time = datetime.now(UTC) + timedelta(seconds=offset_s)
    return time.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def new_request_id() -> str:
    """An id for a request that brought none."""
    return f"req_{uuid4().hex}"


# What a caller sends


class TextPart(Asked):
    """A piece of text."""

    type: Literal["text"]
    text: str


class ImagePart(Asked):
    """An image that the model's server fetches (https) or finds inline (data URL)."""

    type: Literal["image"]
    url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]
Content = str | Annotated[list[Part], Field(min_length=1, max_length=1000, fail_fast=True)]


def has_words(text: str) -> bool:
    """Return whether a text is more than white space. `strip` would copy a long one, which takes 20 ms for 10 MB."""
    return bool(text) and not text.isspace()


def not_blank(content: Content) -> Content:
    """Refuse a text of white space, which several model servers do: Anthropic's, Bedrock's, vLLM's."""
    texts = [content] if isinstance(content, str) else [part.text for part in content if isinstance(part, TextPart)]
    if not all(map(has_words, texts)):
        raise ValueError("a text is empty: send one, or leave out its part or its message")
    return content


class Message(Asked):
    """One message of a conversation that the caller keeps itself."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[Content, AfterValidator(not_blank)]


class AgentRequest(Asked):
    """One question to the agent."""

    model_config = with_examples(
        {"input": "Why is the sky blue?"},
        {
            "input": "And in Bergen?",
            "model": "openai/gpt-4.1",
            "instructions": "Answer in one sentence.",
            "messages": [
                {"role": "user", "content": "Will it rain in Oslo tomorrow?"},
                {"role": "assistant", "content": "No, it will be dry."},
            ],
            "mcp_servers": ["joerup/open-meteo-mcp"],
            "temperature": 0.2,
            "max_steps": 5,
        },
        {
            "input": [
                {"type": "text", "text": "What is in this picture?"},
                {"type": "image", "url": "https://www.python.org/static/img/python-logo.png"},
            ],
            "model": "anthropic/claude-sonnet-4-5-20250929",
            "max_tokens": 200,
            "metadata": {"user": "u_1"},
            "on_disconnect": "continue",
        },
        {"input": "And what did I ask before?", "session_id": "chat-1"},
    )

    input: Content = Field(description="The question: text, or a list of text and image parts.")
    model: str | None = Field(None, min_length=1, max_length=200, description="`provider/model`; see GET /models.")
    tools: list[ToolName] | None = Field(
        None,
        max_length=128,
        fail_fast=True,
        description="Tools of this service that the model may call; see GET /tools.",
    )
    client_tools: list[ClientTool] | None = Field(
        None, max_length=128, fail_fast=True, description="Tools that the caller's page runs."
    )
    mcp_servers: list[ServerName | McpServerRef] | None = Field(
        None,
        max_length=32,
        fail_fast=True,
        description=(
            "`owner/name`, `owner/name@version`, an https URL, or a name of MCP_SERVERS; see GET /mcp-servers. With "
            '`"run": "local"` this service calls the server itself, also where the model\'s server could.'
        ),
    )
    require_approval: list[ToolName] | None = Field(
        None,
        max_length=128,
        fail_fast=True,
        description=(
            "Tools of this request whose calls wait for a person, beside those that always do; see "
            "POST /runs/{run_id}/approvals/{tool_call_id}."
        ),
    )
    instructions: str | None = Field(None, description="The system prompt.")
    messages: list[Message] | None = Field(
        None, max_length=1000, fail_fast=True, description="The conversation before `input`."
    )
    max_steps: int | None = Field(None, ge=1, le=100, description="Model turns at most.")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1, description="Tokens of each model turn at most.")
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    stop: str | Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=16, fail_fast=True)] | None = None
    seed: int | None = None
    response_format: dict[str, JsonValue] | None = Field(
        None, description='As the model\'s server takes it, such as `{"type": "json_object"}`.'
    )
    metadata: Metadata | None = Field(
        None, description="Kept with the run and returned by GET /runs/{id}; not sent to the model."
    )
    on_disconnect: OnDisconnect = Field(
        "cancel",
        description=(
            "What becomes of the run once it has had no reader for DISCONNECT_GRACE_S seconds. POST /runs goes on "
            "unless it is told otherwise."
        ),
    )
    session_id: SessionId | None = Field(
        None, description="The conversation to go on with; an id that is new begins one. Its history goes to the model."
    )
    parent_run_id: str | None = Field(
        None, description="With `session_id`: the earlier run to branch off from, in place of the latest."
    )
    parent_state: Literal["before", "after"] = Field(
        "after", description="Begin after the parent run, or before it: `before` with its own input asks again."
    )
    multitask: Multitask | None = Field(
        None,
        description=(
            "What to do while another run of the session is going: `reject` with 409, `enqueue` behind it, `interrupt` "
            "it. By default one that nobody reads any more is interrupted, and any other is a 409."
        ),
    )

    @field_validator("input")
    @classmethod
    def something_asked(cls, value: Content) -> Content:
        """An empty question is a mistake of the caller's form."""
        if isinstance(value, str) and not has_words(value):
            raise ValueError("the input is empty: send the question")
        return not_blank(value)

    @field_validator("instructions")
    @classmethod
    def blank_is_unset(cls, value: str | None) -> str | None:
        """A form sends "" for what nobody has filled in."""
        return value if value and has_words(value) else None

    @field_validator("stop")
    @classmethod
    def empty_is_unset(cls, value: str | list[str] | None) -> str | list[str] | None:
        """The same, but that a stop sequence may be white space, such as a line break."""
        return value or None

    @model_validator(mode="after")
    def one_history(self) -> Self:
        """A session keeps the history itself."""
        if self.session_id is not None and self.messages:
            raise ValueError("send session_id or messages, not both: a session's history is the stored one")
        if self.session_id is None and (self.parent_run_id or self.multitask):
            raise ValueError("parent_run_id and multitask go with session_id")
        return self

    @model_validator(mode="after")
    def tools_differ(self) -> Self:
        """The model calls a tool by its name alone."""
        names = [*(self.tools or ()), *(tool.name for tool in self.client_tools or ())]
        if len(names) > len(set(names)):
            raise ValueError("two tools have the same name: each can be named once in tools and client_tools")
        return self

    def image_urls(self) -> list[str]:
        """What the model has to look at."""
        contents = [self.input, *(message.content for message in self.messages or ())]
        parts = [part for content in contents if not isinstance(content, str) for part in content]
        return [part.url for part in parts if isinstance(part, ImagePart)]


class Scenario(StrEnum):
    """The scripted runs of POST /stream/simulate."""

    DEFAULT = "default"
    LONG = "long"
    TOOL_ERROR = "tool_error"
    ERROR = "error"
    SLOW = "slow"
    TRUNCATED = "truncated"
    PROGRESS = "progress"
    APPROVAL = "approval"
    CLIENT_TOOL = "client_tool"


class SimulateRequest(AgentRequest):
    """A scripted run: the same events for the same request, without a model or a key.

    It takes every field of POST /stream and checks it in the same way, so that a front end can switch between the two.
    The script uses `input`, `scenario`, `delay_ms` and `on_disconnect`, and ignores the others.
    """

    model_config = with_examples(
        {"input": "Test", "model": "openai/gpt-4.1", "scenario": "default"},
        {"scenario": "error", "delay_ms": 0},
    )

    input: Content = Field("What is the weather in Oslo?", description="Echoed in the scripted answer.")
    scenario: Scenario = Field(Scenario.DEFAULT, description="Which script to play.")
    delay_ms: int = Field(30, ge=0, le=5000, description="Pause before each piece, in milliseconds.")


# The run and its answer


class RunStatus(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Run(Closed):
    """A run as GET /runs/{id} tells it.

    `last_seq` is the number of its last event so far; `pending` are the calls whose answers a waiting run waits for.
    """

    run_id: str
    session_id: Maybe[str] = None
    parent_run_id: Maybe[str] = None
    status: RunStatus
    model: str
    created_at: str
    finished_at: Maybe[str] = None
    last_seq: int
    on_disconnect: OnDisconnect
    metadata: Maybe[dict[str, str]] = None
    pending: Maybe[list[PendingCall]] = None
    finish_reason: Maybe[str] = None
    usage: Maybe[Usage] = None
    steps: Maybe[int] = None
    error: Maybe[RunError] = None


class RunList(Closed):
    """Runs, the latest first. `next_cursor` asks for the next page, and is absent on the last."""

    runs: list[Run]
    next_cursor: Maybe[str] = None


class ToolCall(Closed):
    """A tool call with its result, as the JSON answer holds it."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    source: ToolSource
    server: Maybe[str] = None
    result: Maybe[str] = None
    is_error: Maybe[bool] = None


class AgentResponse(Closed):
    """The same run as the stream's, folded into one answer. One that waits for a person is answered as far as it is.

    A tool call in `pending` has no result yet. `warnings` say what was left out or lost.
    """

    run_id: str
    session_id: Maybe[str] = None
    status: RunEnd | Literal["waiting"]
    output: str
    thinking: str
    tool_calls: list[ToolCall]
    pending: Maybe[list[PendingCall]] = None
    warnings: Maybe[list[RunWarning]] = None
    usage: Usage
    model: str
    finish_reason: Maybe[str] = None
    steps: int
    duration_ms: int
