"""Reads a run's calls and results, in its events and in the requests to the model."""

from collections.abc import Sequence
from typing import Any

from service import Event, only
from wire import (
    Done,
    Finish,
    Json,
)

END = [Finish("tool_calls"), Done()]
MCP: Json = {"input": "?", "mcp_servers": ["tsion/exa"]}
QUESTION: Json = {"role": "user", "content": "?"}


def hosted(name: str, arguments: Json, result: Any, *, is_error: bool = False, **extra: Any) -> Json:
    """An entry of `mcp_tool_results`."""
    return {"tool_name": name, "arguments": arguments, "result": result, "is_error": is_error, **extra}


def calls_of(request: Any) -> list[Json]:
    """The first turn's calls, as the second request repeats them."""
    calls: list[Json] = request.body["messages"][1]["tool_calls"]
    return calls


def results_of(request: Any) -> list[tuple[str, str]]:
    """The ids and contents of the tool messages of a request."""
    return [(m["tool_call_id"], m["content"]) for m in request.body["messages"] if m["role"] == "tool"]


def result_by_call(events: Sequence[Event]) -> dict[str, Any]:
    """Each call's result by the call's id. Checks that every call has one."""
    results = {data["tool_call_id"]: data["content"] for data in only(list(events), "tool_result")}
    assert set(results) == {data["tool_call_id"] for data in only(list(events), "tool_use")}
    return results


def complete(events: Sequence[Event]) -> Json:
    data: Json = events[-1]["data"]
    return data
