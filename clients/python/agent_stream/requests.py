"""The fields of a request for a run, beside `input`. docs/api.md of the service describes each."""

from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Literal, Required, TypedDict
from urllib.parse import quote

from agent_stream.records import Content

RUNS = "/api/agent/runs"
SESSIONS = "/api/agent/sessions"


class InputMessage(TypedDict, total=False):
    """A message of a conversation that the caller stores itself."""

    role: Required[Literal["system", "developer", "user", "assistant", "tool"]]
    name: str | None
    tool_calls: list[dict[str, Any]] | None
    tool_call_id: str | None
    content: Content | None


class RequestOptions(TypedDict, total=False):
    """The fields of a request for a run. A field that is None is left out."""

    model: str | None
    fallback_models: list[str] | None
    tools: list[str] | None
    client_tools: list[dict[str, Any]] | None
    mcp_servers: list[str | dict[str, Any]] | None
    require_approval: list[str] | None
    instructions: str | None
    messages: list[InputMessage] | None
    max_steps: int | None
    max_cost_usd: float | None
    max_total_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    frequency_penalty: float | None
    presence_penalty: float | None
    max_tokens: int | None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None
    thinking_budget: int | Literal["adaptive"] | None
    verbosity: Literal["low", "medium", "high"] | None
    service_tier: str | None
    prompt_cache_retention: Literal["in_memory", "24h"] | None
    stop: str | list[str] | None
    seed: int | None
    response_format: dict[str, Any] | None
    output_schema: dict[str, Any] | None
    tool_choice: Literal["auto", "none", "required"] | dict[str, str] | None
    parallel_tool_calls: bool | None
    web_search: bool | dict[str, Any] | None
    max_turns: int | None
    provider_options: dict[str, Any] | None
    metadata: dict[str, str] | None
    on_disconnect: Literal["cancel", "continue"]
    session_id: str | None
    parent_run_id: str | None
    parent_state: Literal["before", "after"]
    multitask: Literal["reject", "enqueue", "interrupt"] | None


class SimulateOptions(RequestOptions, total=False):
    """The fields of a request for a scripted run."""

    scenario: Literal[
        "default",
        "long",
        "tool_error",
        "error",
        "slow",
        "truncated",
        "progress",
        "approval",
        "client_tool",
        "fallback",
        "sources",
        "structured",
        "budget",
    ]
    delay_ms: int


@dataclass(frozen=True)
class Start:
    """The request that starts a run. However often it is sent, its `key` makes one run of it."""

    path: str
    body: Mapping[str, Any]
    key: str


def request_of(question: Content | None, options: RequestOptions) -> dict[str, Any]:
    """Return the body of a request for a run."""
    return given({"input": question, **options})


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def new_key() -> str:
    """Return a new Idempotency-Key."""
    return token_hex(16)


def run_path(run_id: str, *more: str) -> str:
    """Return the path of a run, or of something of it."""
    return _path(RUNS, run_id, *more)


def session_path(session_id: str, *more: str) -> str:
    """Return the path of a session, or of something of it."""
    return _path(SESSIONS, session_id, *more)


def _path(base: str, *parts: str) -> str:
    return "/".join([base, *(quote(part, safe="") for part in parts)])
