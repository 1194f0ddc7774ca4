"""Makes the request of a model turn."""

from collections.abc import Sequence
from typing import Any

from services.agents.conversation import WireMessage
from services.agents.run_context import RunContext
from services.tooling.base import Tool
from services.upstreams.wire_rules import left_out

PASSED_ON = ("temperature", "top_p", "max_tokens", "reasoning_effort", "stop", "seed", "response_format")
"""The parameters of a request that are sent under the same names."""


def request_body(context: RunContext, messages: Sequence[WireMessage], correlation_id: str | None) -> dict[str, Any]:
    """Return the body of the next turn's request. The upstream's wire rules are applied to it later."""
    request, route, toolset = context.request, context.route, context.toolset
    parameters = {key: value for key in PASSED_ON if (value := getattr(request, key)) is not None}
    if toolset.hosted:
        parameters["mcp_servers"] = list(toolset.hosted)
    if toolset.tools:
        parameters["tools"] = [_schema(tool) for tool in toolset.tools.values()]
    if correlation_id is not None:
        parameters["correlation_id"] = correlation_id
    return {
        **route.upstream.defaults,
        **parameters,
        "model": route.wire_model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def parameters_left_out(context: RunContext) -> list[str]:
    """Return the request's parameters that the model's server doesn't accept as they are set, sorted."""
    rules = context.route.rules
    if not rules.left_out:
        return []
    parameters = context.request.model_dump(include={*PASSED_ON}, exclude_none=True)
    return sorted(name for name, value in parameters.items() if left_out(name, value, rules))


def _schema(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}
