"""The parts of one run that its model turns and its tools share."""

from typing import NamedTuple

from models import AgentRequest
from run_models import Run
from services.agents.budget import Budget
from services.agents.model_chain import ModelChain
from services.agents.toolbox import Toolset
from services.runs.writer import RunWriter
from services.upstreams.upstream import Route


class RunContext(NamedTuple):
    """One run, with its request, the models that may answer it, the writer of its events, and its budget."""

    run: Run
    request: AgentRequest
    models: ModelChain
    writer: RunWriter
    budget: Budget

    @property
    def route(self) -> Route:
        """The route to the model that answers now."""
        return self.models.route

    @property
    def toolset(self) -> Toolset:
        """The tools of the model that answers now."""
        return self.models.toolset
