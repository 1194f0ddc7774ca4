"""The seam between runs and what answers them: the agent, and the simulator."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from events import RunWarning
from models import AgentRequest, Run, SimulateRequest
from services.agents.conversation import WireMessage
from services.agents.toolbox import ToolSelection
from services.runs.suspension import Outcomes, Suspension
from services.runs.writer import RunWriter
from services.upstreams.selection import Route


class Plan(NamedTuple):
    """How a request is carried out: over which route and with which tools.

    `request` is without what these can't serve, about which `warnings` inform the caller.
    """

    request: AgentRequest
    route: Route
    tools: ToolSelection
    warnings: Sequence[RunWarning]


class Agent(Protocol):
    """Answers requests over a route, as `DedalusAgent` does."""

    async def plan(self, request: AgentRequest, route: Route) -> Plan:
        """Choose what the request runs with. Raise a `RequestError` for what is unavailable."""

    async def run(self, plan: Plan, history: Sequence[WireMessage], run: Run, events: RunWriter) -> Suspension | None:
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
        events: RunWriter,
    ) -> Suspension | None:
        """Continue from the state of a `Suspension`, with the outcomes of its calls. Raise as `run` does."""

    async def check_arguments(
        self, request: AgentRequest, name: str, arguments: Mapping[str, Any], route: Route
    ) -> None:
        """Check the arguments with which a person wants to approve a call of a waiting run.

        Raise `InvalidArguments` if the tool doesn't take them, and `McpServerFailed` or `ToolUnavailable` if the tool
        is unavailable now.
        """


class Simulator(Protocol):
    """Plays scripted runs, as `SimulatedAgent` does."""

    model: str

    async def run(self, request: SimulateRequest, events: RunWriter) -> Suspension | None:
        """Write every event of the run except `run_started` and the final ones. Return and raise as `Agent.run`."""

    async def resume(self, request: SimulateRequest, outcomes: Outcomes, events: RunWriter) -> Suspension | None:
        """Continue after a wait. Return and raise as `run` does."""
