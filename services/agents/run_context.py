"""The parts of one run that its model turns and its tools share."""

from typing import NamedTuple

from models import AgentRequest, Run
from services.agents.toolbox import Toolset
from services.runs.writer import RunWriter
from services.upstreams.upstream import Route


class RunContext(NamedTuple):
    """One run, with its request, the route to its model, its tools, and the writer of its events."""

    run: Run
    request: AgentRequest
    route: Route
    toolset: Toolset
    writer: RunWriter
