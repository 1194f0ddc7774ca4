"""The parameters of a request that are passed to the model server, under this service's names."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, StrictBool, field_validator, model_validator

from tool_models import Asked, ToolName

USE_INSTEAD = {
    "functions": "functions is deprecated: use tools or client_tools",
    "function_call": "function_call is deprecated: use tool_choice",
    "max_completion_tokens": "use max_tokens instead of max_completion_tokens: it is renamed where necessary",
    "thinking": "use thinking_budget instead of thinking",
    "web_search_options": "use web_search instead of web_search_options",
    "extra_body": "use provider_options instead of extra_body",
}
"""Parameters of chat clients that this service has in another form."""
ONE_ANSWER = "n must be 1, because a run has one answer: send several requests instead"
MIN_THINKING = 1024  # tokens: the least that Anthropic accepts (https://platform.claude.com/docs, extended thinking)
MAX_OPTIONS = 32


class NamedTool(Asked):
    """The tool that the model must call."""

    name: ToolName = Field(description="The name of the tool.")


def _choice(value: Any) -> Any:
    """Return the choice for the forms of OpenAI, Anthropic and the AI SDK, unless it says more than that."""
    match value:
        case {"type": "function", "function": {"name": name}}:
            return {"name": name}
        case {"type": "tool", "toolName": name, **others} if not others:
            return {"name": name}
        case {"type": "function" | "tool", "name": name, **others} if not others:
            return {"name": name}
        case {"type": "auto" | "none" as mode, **others} if not others:
            return mode
        case "any":
            return "required"
        case {"type": "any" | "required", **others} if not others:
            return "required"
        case _:
            return value


UNFORCED = (None, "auto", "none")
"""The values of `tool_choice` that don't force a call."""
ToolChoice = Annotated[Literal["auto", "none", "required"] | NamedTool, BeforeValidator(_choice)]


class SearchLocation(Asked):
    """The place that the search is about."""

    country: str | None = Field(None, max_length=100, description="The ISO code of the country, such as `NO`.")
    region: str | None = Field(None, max_length=100, description="The region or state.")
    city: str | None = Field(None, max_length=100, description="The city.")
    timezone: str | None = Field(
        None, max_length=100, description="The IANA name of the time zone, such as `Europe/Oslo`."
    )

    @model_validator(mode="before")
    @classmethod
    def from_openai(cls, value: Any) -> Any:
        """Accept OpenAI's form, which nests the place."""
        match value:
            case {"type": "approximate", "approximate": dict(place)} | {"type": "approximate", **place}:
                return place
            case _:
                return value


class WebSearch(Asked):
    """The options of a web search that the model server makes."""

    search_context_size: Literal["low", "medium", "high"] | None = Field(
        None, description="How much of the pages found the model reads."
    )
    user_location: SearchLocation | None = Field(None, description="The place that the search is about.")


def _false_is_unset(value: bool | WebSearch | None) -> bool | WebSearch | None:
    return value or None


SearchOptions = Annotated[StrictBool | WebSearch | None, AfterValidator(_false_is_unset)]


class ModelParameters(Asked):
    """The parameters that are passed to the model server. docs/upstreams.md shows what each server accepts."""

    temperature: float | None = Field(None, ge=0, le=2, description="The sampling temperature.")
    top_p: float | None = Field(None, ge=0, le=1, description="Nucleus sampling: the probability mass considered.")
    top_k: int | None = Field(None, ge=1, description="The number of most likely tokens to sample from.")
    frequency_penalty: float | None = Field(
        None, ge=-2, le=2, description="Makes tokens less likely the more often they have occurred."
    )
    presence_penalty: float | None = Field(
        None, ge=-2, le=2, description="Makes tokens that have already occurred less likely."
    )
    max_tokens: int | None = Field(None, ge=1, description="The maximum number of output tokens in each model turn.")
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = Field(
        None, description="How much a reasoning model thinks."
    )
    thinking_budget: Annotated[int, Field(ge=MIN_THINKING)] | Literal["adaptive"] | None = Field(
        None,
        description=(
            "The maximum number of thinking tokens in each turn, below `max_tokens`, or `adaptive` to let the model "
            "decide. Not together with `reasoning_effort`."
        ),
    )
    verbosity: Literal["low", "medium", "high"] | None = Field(None, description="How long the answer is.")
    service_tier: str | None = Field(
        None, pattern=r"^[a-z_]{1,32}$", description="The processing tier, such as `auto`, `flex` or `priority`."
    )
    prompt_cache_retention: Literal["in_memory", "24h"] | None = Field(
        None,
        description=(
            "How long OpenAI keeps the beginning of a prompt in its cache: `in_memory` (minutes) or `24h`. The default "
            "is PROMPT_CACHE_RETENTION."
        ),
    )
    stop: str | Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=16, fail_fast=True)] | None = (
        Field(None, description="One or more sequences at which the model stops.")
    )
    seed: int | None = Field(None, description="A seed for sampling, if the model server supports one.")
    response_format: dict[str, JsonValue] | None = Field(
        None, description='Passed to the model server unchanged, such as `{"type": "json_object"}`.'
    )
    output_schema: dict[str, JsonValue] | None = Field(
        None,
        description=(
            "A JSON Schema that the final answer has to match. The answer is checked, and the model is asked again if "
            "it doesn't match. `final_output.data` has its value. References must point inside the schema. Not "
            "together with `response_format`."
        ),
    )
    tool_choice: ToolChoice | None = Field(
        None,
        description=(
            "Whether the model calls tools: `auto`, `none`, `required`, or the name of one as "
            '`{"name": "get_weather"}`. A call is forced in the first step only.'
        ),
    )
    parallel_tool_calls: bool | None = Field(None, description="Whether the model may call several tools at once.")
    web_search: SearchOptions = Field(None, description="Lets the model server search the web: `true`, or options.")
    max_turns: int | None = Field(
        None,
        ge=1,
        le=100,
        description=(
            "The maximum number of turns in which the model server calls hosted MCP servers by itself, within one "
            "step. The default is the number of steps left."
        ),
    )
    provider_options: dict[str, JsonValue] | None = Field(
        None,
        max_length=MAX_OPTIONS,
        description="Further parameters, sent unchanged. PROVIDER_OPTIONS names those that are allowed.",
    )

    @model_validator(mode="before")
    @classmethod
    def in_our_form(cls, value: Any) -> Any:
        """Refuse parameters that this service has in another form, and name the field to use. They may be null."""
        if not isinstance(value, dict):
            return value
        for name, use in USE_INSTEAD.items():
            if value.get(name) is not None:
                raise ValueError(use)
        answers = value.get("n")
        if answers is not None and answers != 1:
            raise ValueError(ONE_ANSWER)
        return {key: given for key, given in value.items() if key not in USE_INSTEAD and key != "n"}

    @field_validator("stop")
    @classmethod
    def empty_is_unset(cls, value: str | list[str] | None) -> str | list[str] | None:
        """Treat an empty value as none. White space is kept: a line break is a common stop sequence."""
        return value or None

    @model_validator(mode="after")
    def one_format(self) -> Self:
        """Refuse two formats of the answer."""
        if self.output_schema is not None and self.response_format is not None:
            raise ValueError("send output_schema or response_format, not both")
        return self

    @model_validator(mode="after")
    def thinking_leaves_an_answer(self) -> Self:
        """Refuse a budget together with an effort, and a budget that leaves no token for the answer."""
        if self.thinking_budget is not None and self.reasoning_effort is not None:
            raise ValueError("send thinking_budget or reasoning_effort, not both")
        budget, most = self.thinking_budget, self.max_tokens
        if isinstance(budget, int) and most is not None and budget >= most:
            raise ValueError("thinking_budget must be less than max_tokens, which includes the thinking")
        return self
