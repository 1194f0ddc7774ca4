"""The protocols through which runs use the agent and the simulator."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from events import RunWarning
from models import AgentRequest, Run, SimulateRequest
from services.agents.conversation import WireMessage
from services.agents.toolbox import ToolSelection
from services.runs.suspension import Outcomes, Suspension
from services.runs.writer import RunWriter
from services.upstreams.upstream import Route


class Plan(NamedTuple):
    """A request with its route and its tools.

    Parts that these can't serve are removed from `request`, and `warnings` inform the caller about them.
    """

    request: AgentRequest
    route: Route
    tools: ToolSelection
    warnings: Sequence[RunWarning]


class Agent(Protocol):
    """Answers requests with a model, as `DedalusAgent` does."""

    async def plan(self, request: AgentRequest, route: Route) -> Plan:
        """Select a request's tools for a route. Raise a `RequestError` for tools or URLs that are unavailable."""

    async def run(self, plan: Plan, history: Sequence[WireMessage], run: Run, writer: RunWriter) -> Suspension | None:
        """Write every event of the run except `run_started` and the final ones.

        Return a `Suspension` if it has to wait for an approval or a client tool. Raise the error that it fails with.
        """

    async def resume(
        self,
        request: AgentRequest,
        state: Mapping[str, Any],
        outcomes: Outcomes,
        route: Route,
        run: Run,
        writer: RunWriter,
    ) -> Suspension | None:
        """Continue from the state of a `Suspension`, with the outcomes of its calls. Return and raise as `run` does."""

    async def check_arguments(
        self, request: AgentRequest, name: str, arguments: Mapping[str, Any], route: Route
    ) -> None:
        """Check the changed arguments of an approval, for a call of a waiting run.

        Raise `InvalidArguments` if the tool doesn't accept them, and `McpServerFailed` or `ToolUnavailable` if the
        tool is unavailable now.
        """


class Simulator(Protocol):
    """Plays scripted runs, as `SimulatedAgent` does."""

    model: str

    async def run(self, request: SimulateRequest, writer: RunWriter) -> Suspension | None:
        """Write every event of the run except `run_started` and the final ones. Return and raise as an agent does."""

    async def resume(self, request: SimulateRequest, outcomes: Outcomes, writer: RunWriter) -> Suspension | None:
        """Continue after a wait. Return and raise as `run` does."""
