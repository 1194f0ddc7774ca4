"""Settings that are objects: MCP servers, prices, the wire rules of model servers and lists of models."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AnyUrl, BaseModel, ConfigDict, Field, SecretStr, UrlConstraints, model_validator
from pydantic_settings import NoDecode

from setting_types import json_such_as

# fmt: off
THINK_TAGS = (
    "*deepseek-r1*", "*deepseek-v3.[12]*", "*r1-distill*", "*r1-1776*", "*qwq*", "*qwen3*", "*magistral*",
    "*gemini*", "*glm-4.[5-9]*", "*glm-z1*", "*minimax-m*", "*kimi-k2-thinking*", "*kimi-vl*",
    "*sonar-reasoning*", "*cogito*", "*nemotron*", "*phi-4*reasoning*", "*exaone*", "*smollm3*",
    "*deephermes*", "*hunyuan*", "*seed-oss*", "*ernie*", "*marco-o1*", "*openthinker*", "*skywork-or1*",
    "*thinking*",
)
# fmt: on
"""Models known to write their thinking into the text, if their server doesn't separate it."""


class McpServer(BaseModel):
    """An MCP server in MCP_SERVERS: the URL of a remote one, or the command of a local one (stdio).

    `env` is added to the command's environment, which otherwise has only the few names that every program needs.
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
        """Require a URL or a command, and only the fields that go with it."""
        if (self.url is None) == (self.command is None):
            raise ValueError('a server must have either a "url" or a "command"')
        if self.url is None and (self.headers or "transport" in self.model_fields_set):
            raise ValueError('"headers" and "transport" go with a "url"')
        if self.command is None and (self.args or self.env):
            raise ValueError('"args" and "env" go with a "command"')
        return self


Rate = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class ModelPrice(BaseModel):
    """The price of a model in MODEL_PRICES, in US dollars per million tokens.

    Cached and written tokens cost as much as other input if they have no price of their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_per_million: Rate
    output_per_million: Rate
    cached_input_per_million: Rate | None = None
    cache_write_per_million: Rate | None = None


class WireRules(BaseModel):
    """How the requests of a model server differ from OpenAI's reference. UPSTREAM_RULES overrides these.

    * `max_tokens` and `seed` are the names of these parameters.
    * `stream`: if false, the whole answer is requested at once.
    * `empty_content`: the content of a message that has tool calls and no text.
    * `reasoning`: sent `back` unchanged with its message, `never`, or `always`. With `always`, every message of the
      model has `reasoning_content`, a space if the model sent none.
    * `call_ids`: `any` ids are sent back unchanged, `short` ones have at most 40 characters, `nine` means nine letters
      and digits. `auto` is `short`, except for ids that carry a signature.
    * `system_role`: if false, instructions are put before the first question.
    * `thinking`: `thinking_budget` as Anthropic's `thinking`, as OpenRouter's `reasoning`, or in Google's `extra_body`.
    * `web_search`: as `web_search_options` with OpenAI's `nested` place or a `flat` one, or as OpenRouter's `plugin`.
    * `json_schema`: whether `output_schema` is sent as a `response_format` that the server enforces: `always`, only
      `without_tools`, or `never`. Else it is a part of the instructions.
    * `tool_choice`: what can be forced: a call of a `named` tool, of `any` tool, or `nothing`.
    * `files`: the form of PDFs; with `none`, a request with one is refused.
    * `file_urls`: whether the server fetches files.
    * `audio`: the form of recordings; with `none`, a request with one is refused.
    * `most_output`: the largest `max_tokens` that the server accepts. A larger one that a budget leads to is not sent.
    * `prompt_cache_key`: whether requests of a session have a key by which the server finds its cache.
    * `cache_control`: whether requests that others continue have marks for Anthropic's prompt cache.
    * `left_out`: parameters that are not sent. `name=value` leaves out only that value.
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
    thinking: Literal["thinking", "reasoning", "google"] = "thinking"
    web_search: Literal["nested", "flat", "plugin"] = "nested"
    json_schema: Literal["always", "without_tools", "never"] = "never"
    tool_choice: Literal["named", "any", "nothing"] = "named"
    files: Literal["file", "file_url", "document_url", "none"] = "file"
    file_urls: bool = False
    audio: Literal["input_audio", "text", "none"] = "input_audio"
    most_output: int | None = None
    prompt_cache_key: bool = False
    cache_control: bool = False
    left_out: tuple[str, ...] = ()


ModelList = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=5)]
McpServerName = Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$", max_length=100)]

FallbackModels = Annotated[
    dict[str, ModelList], NoDecode, json_such_as('{"openai/gpt-4.1": ["anthropic/claude-sonnet-4-5-20250929"]}')
]
ModelPrices = Annotated[
    dict[str, ModelPrice],
    NoDecode,
    json_such_as('{"openai/gpt-4.1": {"input_per_million": 2, "output_per_million": 8}}'),
]
McpServers = Annotated[
    dict[McpServerName, McpServer],
    NoDecode,
    json_such_as('{"name": {"url": "https://…", "description": "…"}}'),
]
UpstreamRules = Annotated[dict[str, WireRules], NoDecode, json_such_as('{"custom": {"stream_options": false}}')]

SETTING_OBJECTS: dict[str, type[BaseModel]] = {
    "mcp_servers": McpServer,
    "model_prices": ModelPrice,
    "upstream_rules": WireRules,
}
