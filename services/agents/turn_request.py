"""Makes the request of a model turn."""

import hmac
from typing import Any

from run_models import SessionKey
from services.agents.loop_state import AgentLimits, LoopState
from services.agents.parameters import model_parameters, parameters_of_step
from services.agents.run_context import RunContext
from services.tooling.base import Tool
from services.upstreams.wire_rules import CONTINUED, left_out

CACHE_KEY_LENGTH = 32  # hexadecimal digits


def request_body(context: RunContext, step: int, limits: AgentLimits, state: LoopState) -> dict[str, Any]:
    """Return the body of a step's request. The upstream's wire rules are applied to it later.

    A provider's prompt cache matches the beginning of a request. So the tools are sorted, and what is before the new
    messages is the same in each turn.
    """
    route, toolset = context.route, context.toolset
    steps_left = (context.request.max_steps or limits.max_steps) - step + 1
    parameters = parameters_of_step(context.request, toolset, step, steps_left)
    if toolset.hosted:
        parameters["mcp_servers"] = list(toolset.hosted)
    if toolset.tools:
        parameters["tools"] = [_schema(tool) for _, tool in sorted(toolset.tools.items())]
    if state.correlation_id is not None:
        parameters["correlation_id"] = state.correlation_id
    if state.deferred_calls:
        parameters["deferred_calls"] = state.deferred_calls
    if context.run.session_key and route.rules.prompt_cache_key:
        parameters["prompt_cache_key"] = _cache_key(context.run.session_key, route.upstream.client.api_key or "")
    return {
        **route.upstream.defaults,
        **parameters,
        "model": route.wire_model,
        "messages": state.messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        CONTINUED: bool(context.run.session_id or toolset.tools or toolset.hosted),
    }


def _cache_key(key: SessionKey, secret: str) -> str:
    """Return a key for a session that doesn't reveal its owner and id: their HMAC by the key for the server."""
    return hmac.new(secret.encode(), "/".join(key).encode(), "sha256").hexdigest()[:CACHE_KEY_LENGTH]


def parameters_left_out(context: RunContext) -> list[str]:
    """Return the request's parameters that the model server doesn't accept as they are set, sorted."""
    rules = context.route.rules
    if not rules.left_out:
        return []
    parameters = model_parameters(context.request)
    return sorted(name for name, value in parameters.items() if left_out(name, value, rules))


def _schema(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}
