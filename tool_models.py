"""Tools, as callers name, bring, list and answer them."""

from typing import Annotated, Any, Literal, Self

from pydantic import AnyUrl, Field, JsonValue, StrictBool, UrlConstraints, field_validator, model_validator

from events import Closed, with_examples

SERVER_PATTERN = r"^([\w.-]+(/[\w.-]+(@[\w.-]+)?)?|https://\S+)$"
"""An MCP server as Dedalus takes it, `owner/name`, `owner/name@version`, or an https URL; or a name of MCP_SERVERS."""
TOOL_NAME = r"^[A-Za-z0-9_-]{1,64}$"
"""What the models' servers take as a tool's name."""
MAX_UNKNOWN = 20


class Asked(Closed):
    """What a caller sends.

    Each fault costs time, so the lists stop at their first one, and many unknown fields are one.
    """

    @model_validator(mode="before")
    @classmethod
    def mostly_known(cls, value: Any) -> Any:
        """An object of many other fields is something else."""
        if isinstance(value, dict) and len(value) > len(cls.model_fields) + MAX_UNKNOWN:
            raise ValueError(f"more than {MAX_UNKNOWN} of its fields are not known: see /docs for the names")
        return value


class McpServerRef(Asked):
    """An MCP server that this service itself is the client of: one of MCP_SERVERS by its name, or a URL."""

    model_config = with_examples(
        {"name": "docs", "run": "local"}, {"url": "https://mcp.example.com/mcp", "run": "local"}
    )

    name: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$", max_length=100)] | None = None
    url: Annotated[AnyUrl, UrlConstraints(allowed_schemes=["https", "http"], max_length=2000)] | None = None
    run: Literal["local"]

    @model_validator(mode="after")
    def one_of_both(self) -> Self:
        """A server is found in one way."""
        if (self.name is None) == (self.url is None):
            raise ValueError("send a name or a url")
        return self


ServerName = Annotated[str, Field(pattern=SERVER_PATTERN, max_length=2000)]
ToolName = Annotated[str, Field(pattern=TOOL_NAME)]


class ClientTool(Asked):
    """A tool that the caller's page runs: the run waits for its result at POST /runs/{id}/tool-results."""

    name: ToolName
    description: str = Field("", max_length=10_000)
    parameters: dict[str, JsonValue] = Field(
        default={"type": "object", "properties": {}}, description="The arguments, as JSON schema of an object."
    )

    @field_validator("parameters")
    @classmethod
    def of_an_object(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Models give arguments by name."""
        if value.get("type") != "object":
            raise ValueError('the schema of the arguments has "type": "object"')
        return value


class ApprovalDecision(Asked):
    """A person's answer to an `approval_request`."""

    model_config = with_examples({"approved": True}, {"approved": False, "reason": "Not on a Friday."})

    approved: StrictBool
    arguments: dict[str, JsonValue] | None = Field(
        None, description="With approval: what to call the tool with instead."
    )
    reason: str | None = Field(None, max_length=2000, description="The model is told a refusal's reason.")

    @model_validator(mode="after")
    def nothing_to_change(self) -> Self:
        """A call that isn't made has no arguments."""
        if not self.approved and self.arguments is not None:
            raise ValueError("arguments go with approved: true")
        return self


class ClientToolResult(Asked):
    """What a call of a client tool gave: text as it is, any other value as JSON."""

    tool_call_id: str
    content: JsonValue
    is_error: bool = False


class ClientToolResults(Asked):
    """The results of client tools; all of them are taken, or none."""

    model_config = with_examples({"results": [{"tool_call_id": "call_1", "content": {"lat": 59.9, "lon": 10.7}}]})

    results: list[ClientToolResult] = Field(min_length=1, max_length=128, fail_fast=True)

    @field_validator("results")
    @classmethod
    def one_each(cls, value: list[ClientToolResult]) -> list[ClientToolResult]:
        """A call has one result."""
        if len({result.tool_call_id for result in value}) < len(value):
            raise ValueError("a tool call has two results: send one for each")
        return value


class ToolInfo(Closed):
    """A tool that a request can name. `parameters` is the JSON schema of its arguments."""

    name: str
    description: str
    parameters: dict[str, Any]
    approval: bool
    idempotent: bool


class McpToolList(Closed):
    """The tools of an MCP server, by the names under which a run has them."""

    tools: list[ToolInfo]


class ToolList(Closed):
    """The tools on offer. `default` are those of a request that doesn't name any."""

    tools: list[ToolInfo]
    default: list[str]
