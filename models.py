"""Requests to the agent and to its simulation."""

from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import uuid4

from pydantic import Field, field_validator, model_validator

from closed_models import with_examples
from events import EventType as EventType  # re-exported, as the others: this module shows the whole contract
from events import StreamEvent as StreamEvent
from message_models import Message, in_order
from parameter_models import ModelParameters
from part_models import Content, FilePart, Part, TextPart, has_words, not_blank
from run_models import AgentResponse as AgentResponse
from run_models import Metadata, OnDisconnect, SessionId
from tool_models import ClientTool, McpServerRef, MostDollars, MostTokens, ServerName, ToolName

Multitask = Literal["reject", "enqueue", "interrupt"]
FallbackModels = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=5)]


def new_request_id() -> str:
    """Return an id for a request without an X-Request-ID."""
    return f"req_{uuid4().hex}"


class AgentRequest(ModelParameters):
    """A request to the agent."""

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

    input: Content = Field(
        description="The question: text, or a list of parts: text, image, file (PDF, text) and audio."
    )
    model: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="The model, as `provider/model`. See GET /api/agent/models. The default is DEFAULT_MODEL.",
    )
    fallback_models: FallbackModels | None = Field(
        None, description="Models that answer, in order, in place of one that fails. The default is FALLBACK_MODELS."
    )
    tools: list[ToolName] | None = Field(
        None,
        max_length=128,
        fail_fast=True,
        description="Python tools that the model may call. See GET /api/agent/tools. The default is TOOLS_BY_DEFAULT.",
    )
    client_tools: list[ClientTool] | None = Field(
        None, max_length=128, fail_fast=True, description="Tools that the client runs. The run waits for their results."
    )
    mcp_servers: list[ServerName | McpServerRef] | None = Field(
        None,
        max_length=32,
        fail_fast=True,
        description=(
            "MCP servers whose tools the model may call: `owner/name`, `owner/name@version`, an https URL, or a name "
            'in MCP_SERVERS. See GET /api/agent/mcp-servers. With `"run": "local"` this service calls the server '
            "itself, even if the model server could."
        ),
    )
    require_approval: list[ToolName] | None = Field(
        None,
        max_length=128,
        fail_fast=True,
        description=(
            "Tools of this request whose calls need a person's approval, in addition to those that always do. See "
            "POST /api/agent/runs/{run_id}/approvals/{tool_call_id}."
        ),
    )
    instructions: str | None = Field(None, description="The system prompt.")
    messages: list[Message] | None = Field(
        None, max_length=1000, fail_fast=True, description="The conversation before `input`, if the client stores it."
    )
    max_steps: int | None = Field(
        None, ge=1, le=100, description="The maximum number of model turns. The default is MAX_STEPS."
    )
    max_cost_usd: MostDollars | None = Field(
        None,
        description=(
            "The US dollars that the run may spend. Once too little is left, it waits for a decision: see POST "
            "/api/agent/runs/{run_id}/budget. The model needs a known price. MAX_COST_USD is the upper bound."
        ),
    )
    max_total_tokens: MostTokens | None = Field(
        None,
        description=(
            "The tokens that all steps of the run may take together, input and output. Once too few are left, it waits "
            "for a decision, as with `max_cost_usd`. MAX_TOTAL_TOKENS is the upper bound."
        ),
    )
    metadata: Metadata | None = Field(
        None, description="Stored with the run and returned by GET /api/agent/runs/{run_id}. Not sent to the model."
    )
    on_disconnect: OnDisconnect = Field(
        "cancel",
        description=(
            "What happens to a run that has had no reader for DISCONNECT_GRACE_S seconds: `cancel` it, or `continue`. "
            "For POST /api/agent/runs, the default is `continue`."
        ),
    )
    session_id: SessionId | None = Field(
        None, description="The session to continue. A new id creates one. Its history is sent to the model."
    )
    parent_run_id: str | None = Field(
        None, description="With `session_id`: an earlier run to branch from, instead of following the latest."
    )
    parent_state: Literal["before", "after"] = Field(
        "after", description="Start after the parent run, or `before` it, for example to ask its question again."
    )
    multitask: Multitask | None = Field(
        None,
        description=(
            "What to do if another run of the session has not ended: `reject` this request with 409, `enqueue` it, or "
            "`interrupt` that run. By default, a run without a reader is interrupted, and any other is a 409."
        ),
    )

    @field_validator("input")
    @classmethod
    def something_asked(cls, value: Content) -> Content:
        """Refuse an empty question."""
        if isinstance(value, str) and not has_words(value):
            raise ValueError("the input is empty: send a question")
        return not_blank(value)

    @field_validator("messages")
    @classmethod
    def as_models_accept_them(cls, value: list[Message] | None) -> list[Message] | None:
        """Repair the order of calls and results, or refuse the messages."""
        return value and in_order(value)

    @field_validator("instructions")
    @classmethod
    def blank_is_unset(cls, value: str | None) -> str | None:
        """Treat blank instructions as none: forms send "" for an empty field."""
        return value if value and has_words(value) else None

    @model_validator(mode="after")
    def one_history(self) -> Self:
        """Refuse two histories, and session parameters without a session."""
        if self.session_id is not None and self.messages:
            raise ValueError("send session_id or messages, not both: a session has its own history")
        if self.session_id is None and (self.parent_run_id or self.multitask):
            raise ValueError("parent_run_id and multitask need session_id")
        return self

    @model_validator(mode="after")
    def tools_differ(self) -> Self:
        """Refuse two tools of one name: the model calls a tool by its name only."""
        names = [*(self.tools or ()), *(tool.name for tool in self.client_tools or ())]
        if len(names) > len(set(names)):
            raise ValueError("two tools have the same name: use each name once in tools and client_tools")
        return self

    def media(self) -> dict[str, Part]:
        """Return the parts of the request that aren't text, each by its place, such as `messages.3.content.0`."""
        contents = {"input": self.input}
        for index, message in enumerate(self.messages or ()):
            contents[f"messages.{index}.content"] = message.content or ""
        return {
            f"{place}.{number}": part
            for place, content in contents.items()
            if not isinstance(content, str)
            for number, part in enumerate(content)
            if not isinstance(part, TextPart) and not (isinstance(part, FilePart) and part.is_text)
        }

    def media_urls(self) -> list[str]:
        """Return the URLs of all images, files and recordings in the request."""
        return [part.url for part in self.media().values() if not isinstance(part, TextPart)]


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
    FALLBACK = "fallback"
    SOURCES = "sources"
    STRUCTURED = "structured"
    BUDGET = "budget"


class SimulateRequest(AgentRequest):
    """A request for a scripted run: always the same events, without a model or a key.

    It accepts and validates every field of POST /api/agent/stream, so that a front end can switch between the two. The
    script uses `input`, `scenario` and `delay_ms`. The session's fields, `on_disconnect` and `metadata` mean the same
    as for a real run. The others are ignored.
    """

    model_config = with_examples(
        {"input": "Test", "model": "openai/gpt-4.1", "scenario": "default"},
        {"scenario": "error", "delay_ms": 0},
    )

    input: Content = Field("What is the weather in Oslo?", description="Repeated in the scripted answer.")
    scenario: Scenario = Field(Scenario.DEFAULT, description="The script to play.")
    delay_ms: int = Field(30, ge=0, le=5000, description="The pause before each event, in milliseconds.")
