"""The models that may answer a run, one after another, and the tools of the one that answers now."""

from collections.abc import Sequence
from typing import NamedTuple

from errors import AgentStreamError, UpstreamUnreached
from event_data import RunWarning, WarningCode
from models import AgentRequest
from services.agents.toolbox import Toolbox, ToolSelection, Toolset
from services.completions.errors import another_model_may_help
from services.upstreams.selection import Upstreams
from services.upstreams.upstream import Route

NO_TOOLS = RunWarning(
    code=WarningCode.TOOLS_LEFT_OUT,
    message="The embedded model's chat template does not support tools, so it answers without them.",
)


class Candidate(NamedTuple):
    """A model that may answer a run, and the request's tools at its upstream."""

    route: Route
    tools: ToolSelection


class ModelChain:
    """The candidates of a run in their order. The first one answers, and a failure removes it.

    So a run calls each candidate until its first failure, and the model that has taken over answers all later steps.
    """

    def __init__(
        self, request: AgentRequest, candidates: Sequence[Candidate], upstreams: Upstreams, tools: Toolbox
    ) -> None:
        self._request = request
        self._candidates = list(candidates)
        self._upstreams = upstreams
        self._tools = tools
        self._offered: tuple[ToolSelection, Toolset] | None = None
        self.toolset = Toolset({})

    @property
    def route(self) -> Route:
        """The route to the model that answers now."""
        return self._candidates[0].route

    @property
    def is_last(self) -> bool:
        """Whether no other model can take over."""
        return len(self._candidates) == 1

    @property
    def names(self) -> list[str]:
        """The model that answers now, and those that can take over from it."""
        return [candidate.route.model for candidate in self._candidates]

    async def begin(self) -> None:
        """Prepare the first model: wait for its upstream and complete its tools.

        Raise `LocalModelUnavailable`, or `ToolUnavailable` as `Toolbox.check_approvals` and `check_choice` do.
        """
        route, selection = self._candidates[0]
        await self._upstreams.ready(route.upstream)
        if self._offered is None or self._offered[0] is not selection:
            self._offered = selection, await self._tools.complete(selection)
        toolset = self._offered[1]
        self._tools.check_approvals(self._request, toolset)
        if toolset.tools and not self._upstreams.takes_tools(route.upstream):
            toolset = Toolset({}, warnings=[*toolset.warnings, NO_TOOLS])
        self._tools.check_choice(self._request, toolset)
        self.toolset = toolset

    async def advance(self, error: AgentStreamError) -> bool:
        """Let the next model take over after this error. Return False if none can help. Raise as `begin` does.

        If a server can't be reached, its other models are skipped.
        """
        if not another_model_may_help(error):
            return False
        failed, *others = self._candidates
        if isinstance(error, UpstreamUnreached):
            others = [other for other in others if other.route.upstream is not failed.route.upstream]
        if not others:
            return False
        self._candidates = others
        await self.begin()
        return True
