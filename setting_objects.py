"""Settings that are objects, given as JSON: an MCP server, the rules of a model's server."""

from typing import Annotated, Literal, Self

from pydantic import AnyUrl, BaseModel, ConfigDict, SecretStr, UrlConstraints, model_validator


class McpServer(BaseModel):
    """An MCP server that the operator offers, listed by name in MCP_SERVERS: at a URL, or a command (stdio).

    `env` is what the command's environment has beside the few names that every program needs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[AnyUrl, UrlConstraints(allowed_schemes=["https", "http"])] | None = None
    transport: Literal["http", "sse"] = "http"
    headers: dict[str, SecretStr] = {}
    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, SecretStr] = {}
    description: str = ""

    @model_validator(mode="after")
    def one_way(self) -> Self:
        """There is one way to a server."""
        if (self.url is None) == (self.command is None):
            raise ValueError('a server has a "url" or a "command"')
        if self.url is None and (self.headers or "transport" in self.model_fields_set):
            raise ValueError('"headers" and "transport" go with a "url"')
        if self.command is None and (self.args or self.env):
            raise ValueError('"args" and "env" go with a "command"')
        return self


class WireRules(BaseModel):
    """What a model's server takes otherwise than OpenAI's reference has it; UPSTREAM_RULES sets these by hand.

    `max_tokens` and `seed` are the names of these parameters. Without `stream` the answer comes whole. `empty_content`
    is what stands beside tool calls where there is no text. `reasoning` goes back with its message as it came, or
    never, or always: every message of the model then has `reasoning_content`, which is a space where none came.
    `call_ids`: `any` goes back as it came, `short` has 40 characters at most, `nine` nine letters and digits; `auto` is
    `short` but for ids that carry a signature. `left_out` are parameters that aren't sent; `name=value` leaves out that
    value alone. Without a `system_role`, instructions begin the first question.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    stream: bool = True
    stream_options: bool = True
    empty_content: Literal["null", "text"] = "null"
    reasoning: Literal["back", "never", "always"] = "back"
    call_ids: Literal["auto", "any", "short", "nine"] = "auto"
    seed: Literal["seed", "random_seed"] = "seed"
    system_role: bool = True
    left_out: tuple[str, ...] = ()
