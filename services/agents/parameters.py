"""The parameters of a run's requests to the model, step by step."""

from typing import Any

from pydantic import BaseModel

from models import AgentRequest
from parameter_models import UNFORCED, ModelParameters
from services.agents.toolbox import Toolset

OF_TOOLS = ("tool_choice", "parallel_tool_calls")
"""OpenAI refuses these in a request without tools."""


def model_parameters(request: ModelParameters) -> dict[str, Any]:
    """Return the parameters that the caller has set, under the names of the request."""
    given = {key: value for key in ModelParameters.model_fields if (value := getattr(request, key)) is not None}
    return {key: _plain(value) for key, value in given.items()}


def _plain(value: Any) -> Any:
    return value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value


def parameters_of_step(request: AgentRequest, toolset: Toolset, step: int, steps_left: int) -> dict[str, Any]:
    """Return the parameters of one step.

    A call is forced in the first step only: forced in each, the calls would never end. `steps_left` counts this step.
    The server that calls MCP servers by itself makes at most as many turns, unless the request says otherwise.
    """
    parameters: dict[str, Any] = model_parameters(request)
    if not (toolset.tools or toolset.hosted):
        for name in OF_TOOLS:
            parameters.pop(name, None)
    if step > 1 and parameters.get("tool_choice") not in UNFORCED:
        del parameters["tool_choice"]
    if toolset.hosted:
        parameters.setdefault("max_turns", steps_left)
    return parameters
