"""Tools and MCP servers, as clients name, define and list them, and the answers to waiting runs."""

from typing import Annotated, Any, Literal, Self

from pydantic import AnyUrl, Field, JsonValue, StrictBool, UrlConstraints, field_validator, model_validator

from closed_models import Closed, Dollars, Maybe, with_examples
from event_data import ApprovalResponse, ToolSource

SERVER_PATTERN = r"^([\w.-]+(/[\w.-]+(@[\w.-]+)?)?|https://\S+)$"
"""An MCP server: `owner/name`, `owner/name@version` or an https URL, as Dedalus accepts, or a name in MCP_SERVERS."""
TOOL_NAME = r"^[A-Za-z0-9_-]{1,64}$"
"""The names of tools that all model servers accept."""
MAX_UNKNOWN = 20

MostDollars = Annotated[Dollars, Field(gt=0, le=1_000_000)]
MostTokens = Annotated[int, Field(ge=1, le=1_000_000_000)]
"""Totals of a budget, in US dollars and in tokens."""


class Asked(Closed):
    """The base of what a client sends.

    Collecting validation errors costs time, so lists stop at their first one, and many unknown fields are one.
    """

    @model_validator(mode="before")
    @classmethod
    def mostly_known(cls, value: Any) -> Any:
        """Report many unknown fields as one error, because each one costs time."""
        if isinstance(value, dict) and len(value) > len(cls.model_fields) + MAX_UNKNOWN:
            raise ValueError(f"more than {MAX_UNKNOWN} unknown fields: see /docs for the names")
        return value


class McpServerRef(Asked):
    """An MCP server that this service calls itself: a name in MCP_SERVERS, or a URL."""

    model_config = with_examples(
        {"name": "docs", "run": "local"}, {"url": "https://mcp.example.com/mcp", "run": "local"}
    )

    name: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$", max_length=100)] | None = Field(
        None, description="The server's name in MCP_SERVERS."
    )
    url: Annotated[AnyUrl, UrlConstraints(allowed_schemes=["https", "http"], max_length=2000)] | None = Field(
        None, description="The server's URL, in place of a name."
    )
    run: Literal["local"] = Field(description="Where the calls are made: by this service.")

    @model_validator(mode="after")
    def one_of_both(self) -> Self:
        """Require exactly one of both."""
        if (self.name is None) == (self.url is None):
            raise ValueError("send either a name or a url")
        return self


ServerName = Annotated[str, Field(pattern=SERVER_PATTERN, max_length=2000)]
ToolName = Annotated[str, Field(pattern=TOOL_NAME)]


class ClientTool(Asked):
    """A tool that the client runs. The run waits for its result at POST /api/agent/runs/{run_id}/tool-results."""

    name: ToolName = Field(description="The name by which the model calls the tool.")
    description: str = Field("", max_length=10_000, description="What the tool does, for the model.")
    parameters: dict[str, JsonValue] = Field(
        default={"type": "object", "properties": {}},
        description="The JSON schema of the arguments, whose type is object.",
    )

    @field_validator("parameters")
    @classmethod
    def of_an_object(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Require an object, because models name arguments."""
        if value.get("type") != "object":
            raise ValueError('the schema of the arguments must have "type": "object"')
        return value


class ApprovalDecision(Asked):
    """A person's decision on an `approval_request`."""

    model_config = with_examples({"approved": True}, {"approved": False, "reason": "Not on a Friday."})

    approved: StrictBool = Field(description="Whether the call is made.")
    arguments: dict[str, JsonValue] | None = Field(
        None, description="With approval: arguments that replace those of the model."
    )
    reason: str | None = Field(
        None, max_length=2000, description="With a refusal: the reason, which is sent to the model."
    )

    @model_validator(mode="after")
    def nothing_to_change(self) -> Self:
        """Refuse arguments for a call that is not made."""
        if not self.approved and self.arguments is not None:
            raise ValueError("arguments need approved: true")
        return self


class BudgetDecision(Asked):
    """A person's decision on a budget that is spent: new totals with which the run resumes, or a refusal that ends it.

    A total that is left out stays as it is.
    """

    model_config = with_examples({"max_cost_usd": 0.5}, {"max_total_tokens": 50_000}, {"approved": False})

    approved: StrictBool = Field(True, description="Whether the run resumes.")
    max_cost_usd: MostDollars | None = Field(None, description="The new total in US dollars, above what is spent.")
    max_total_tokens: MostTokens | None = Field(None, description="The new total of tokens, above what is spent.")

    @model_validator(mode="after")
    def totals_with_approval(self) -> Self:
        """Require a new total with approval, and none with a refusal."""
        has_total = self.max_cost_usd is not None or self.max_total_tokens is not None
        if self.approved and not has_total:
            raise ValueError('send a new max_cost_usd or max_total_tokens, or {"approved": false} to end the run')
        if has_total and not self.approved:
            raise ValueError("new totals need approved: true")
        return self


class ClientToolResult(Asked):
    """The result of a client tool's call. The model gets text unchanged, and any other value as JSON."""

    tool_call_id: str = Field(description="The id of the call, as in its `tool_use` event.")
    content: JsonValue = Field(description="What the tool returned, or what went wrong.")
    is_error: bool = Field(False, description="Whether the tool failed.")


class ClientToolResults(Asked):
    """Results of client tools. All of them are recorded, or none."""

    model_config = with_examples({"results": [{"tool_call_id": "call_1", "content": {"lat": 59.9, "lon": 10.7}}]})

    results: list[ClientToolResult] = Field(
        min_length=1, max_length=128, fail_fast=True, description="A result for each call, in any order."
    )

    @field_validator("results")
    @classmethod
    def one_each(cls, value: list[ClientToolResult]) -> list[ClientToolResult]:
        """Refuse two results for one call."""
        if len({result.tool_call_id for result in value}) < len(value):
            raise ValueError("a tool call has two results: send one for each call")
        return value


class ToolInfo(Closed):
    """A tool that a request can name. `parameters` is the JSON schema of its arguments.

    Calls of a tool with `approval` always need a person's approval. A call of an `idempotent` tool may be repeated
    after a crash.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    approval: bool
    idempotent: bool


class McpToolList(Closed):
    """The tools of an MCP server, under the names that the model sees."""

    tools: list[ToolInfo]


class ToolList(Closed):
    """The Python tools of this service. `default` are those of a request without `tools`."""

    tools: list[ToolInfo]
    default: list[str]


class ToolCall(Closed):
    """A tool call with its result.

    `arguments` are the model's. `approval_response` is a person's decision on the call, as in the event. If it has
    `arguments`, the call was made with these.
    """

    tool_call_id: str
    name: str
    arguments: dict[str, Any]
    source: ToolSource
    server: Maybe[str] = None
    approval_response: Maybe[ApprovalResponse] = None
    result: Maybe[str] = None
    is_error: Maybe[bool] = None
