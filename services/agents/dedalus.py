"""The agent: answers requests with a model and tools, from the beginning or from a checkpoint."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from errors import McpServerFailed, RequestError, ToolUnavailable
from event_data import RunWarning, WarningCode
from models import AgentRequest
from run_models import Run
from services.agents.budget import Budget, BudgetState
from services.agents.checked_input import check_input
from services.agents.checkpoint import BudgetCheckpoint, Checkpoint, StepProgress, checkpoint_of
from services.agents.conversation import WireMessage, conversation
from services.agents.loop import AgentLoop
from services.agents.loop_state import AgentLimits, LoopState
from services.agents.model_chain import Candidate, ModelChain
from services.agents.provider_states import ProviderStates
from services.agents.run_context import RunContext
from services.agents.tool_runner import GONE, ToolRunner
from services.agents.toolbox import Toolbox, ToolSelection
from services.outbound.client import GuardedClient
from services.outbound.url_guard import UrlGuard
from services.runs.suspension import Outcomes, Suspension
from services.runs.writer import RunWriter
from services.upstreams.selection import Upstreams
from services.upstreams.upstream import Route

SUBSTITUTED = (
    "No model server is configured, so the embedded model answers instead of the model that the request named. Set "
    "DEDALUS_API_KEY, a provider's key or DEDALUS_BASE_URL. MODEL_SUBSTITUTION=off refuses such requests."
)


class Plan(NamedTuple):
    """A request with the models that may answer it, the requested one first.

    Parts that can't be served are removed from `request`, and `warnings` inform the caller about them.
    """

    request: AgentRequest
    candidates: Sequence[Candidate]
    warnings: Sequence[RunWarning]

    @property
    def route(self) -> Route:
        """The route to the requested model."""
        return self.candidates[0].route


class Resumed(NamedTuple):
    """A run that has waited, as its checkpoint has it, and the outcomes of its wait."""

    request: AgentRequest
    checkpoint: Checkpoint | BudgetCheckpoint
    budget: Budget
    outcomes: Outcomes

    @property
    def models(self) -> Sequence[str]:
        """The model that answered when the run began to wait, and its fallbacks. Empty in old checkpoints."""
        return self.checkpoint.models


class DedalusAgent:
    """Answers requests with a model, turn by turn, until a turn needs no tool of this service or the caller's page."""

    def __init__(
        self,
        upstreams: Upstreams,
        limits: AgentLimits,
        tools: Toolbox,
        guard: UrlGuard,
        http: GuardedClient,
        states: ProviderStates,
    ) -> None:
        self._upstreams = upstreams
        self._states = states
        self._limits = limits
        self._tools = tools
        self._guard = guard
        self._http = http

    async def check_input(self, request: AgentRequest, run_id: str, caller: str | None) -> None:
        """Check the request's texts, if CHECK_INPUT is set. Raise `InputBlocked` or `CheckFailed`."""
        if self._limits.check_input is not None:
            await check_input(self._limits.check_input, request, run_id, caller)

    async def plan(self, request: AgentRequest, routes: Sequence[Route]) -> Plan:
        """Select a request's tools for each of its routes: to the requested model, then to its fallbacks.

        If the embedded model answers for every model, MCP servers that only Dedalus hosts are left out, with a warning.
        Raise `ToolUnavailable` or `McpUnavailable` for tools that are unavailable, and `UrlRefused` for URLs that are
        not public.
        """
        warnings: list[RunWarning] = []
        route, *fallbacks = routes
        if self._upstreams.substitutes and route.upstream.kind == "local":
            request, warnings = self._tools.without_hosted(request)
        if route.substituted:
            warnings.insert(0, RunWarning(code=WarningCode.MODEL_SUBSTITUTED, message=SUBSTITUTED))
        first = Candidate(route, self._tools.select(request, hosts_mcp=route.upstream.hosts_mcp))
        candidates = [first, *self._fallbacks(request, first, fallbacks)]
        tool_urls = [url for candidate in candidates for url in candidate.tools.urls]
        if urls := {*tool_urls, *request.media_urls()}:
            await asyncio.gather(*map(self._guard.check_image, urls))
        return Plan(request, candidates, warnings)

    def _fallbacks(self, request: AgentRequest, first: Candidate, routes: Sequence[Route]) -> Iterator[Candidate]:
        """Yield the fallbacks with their tools. One of FALLBACK_MODELS that can't have the tools is left out."""
        for route in routes:
            hosts_mcp = route.upstream.hosts_mcp
            if hosts_mcp == first.route.upstream.hosts_mcp:
                yield Candidate(route, first.tools)
                continue
            try:
                yield Candidate(route, self._tools.select(request, hosts_mcp=hosts_mcp))
            except RequestError:
                if request.fallback_models is not None:
                    raise

    async def run(self, plan: Plan, history: Sequence[WireMessage], run: Run, writer: RunWriter) -> Suspension | None:
        """Write every event of the run except `run_started` and the final ones.

        `history` are the messages before the request's. Return a `Suspension` if the run has to wait. Raise the error
        that the run fails with, such as `StepLimit`.
        """
        request = plan.request
        models = await self._models(request, plan.candidates)
        messages = conversation(request.instructions, history, request.input)
        call_ids = {call["id"] for message in history for call in message.get("tool_calls", ())}
        context = RunContext(run, request, models, writer, self._budget(request))
        return await self._loop(context, LoopState(messages, call_ids)).turns(StepProgress(step=1))

    def resumed(self, request: AgentRequest, state: Mapping[str, Any], outcomes: Outcomes) -> Resumed:
        """Return a run that has waited, with its checkpoint and its budget after the decision on it.

        Raise `BudgetExceeded` if the budget was not raised.
        """
        checkpoint = checkpoint_of(state)
        budget = self._budget(request, checkpoint.budget)
        if isinstance(checkpoint, BudgetCheckpoint):
            budget.decide(outcomes)
        return Resumed(request, checkpoint, budget, outcomes)

    async def resume(self, resumed: Resumed, routes: Sequence[Route], run: Run, writer: RunWriter) -> Suspension | None:
        """Continue a run that has waited. `routes` lead to its `models`. Return and raise as `run` does."""
        request, checkpoint = resumed.request, resumed.checkpoint.for_family(routes[0].family)
        models = await self._models(request, [*self._reselected(request, routes)])
        context = RunContext(run, request, models, writer, resumed.budget)
        loop = self._loop(context, LoopState(checkpoint.messages, set(checkpoint.call_ids)))
        if isinstance(checkpoint, BudgetCheckpoint):
            return await loop.resume_before(checkpoint)
        return await loop.resume(checkpoint, resumed.outcomes)

    async def check_arguments(
        self, request: AgentRequest, name: str, arguments: Mapping[str, Any], route: Route
    ) -> None:
        """Raise `InvalidArguments` for arguments that a tool of a waiting run doesn't accept.

        Raise `McpServerFailed` or `ToolUnavailable` if the tool is unavailable now.
        """
        [candidate] = self._reselected(request, [route])
        toolset = await self._tools.complete(candidate.tools)
        if tool := toolset.tools.get(name):
            tool.check(arguments)
        else:
            raise McpServerFailed if toolset.warnings else ToolUnavailable(GONE)

    def _reselected(self, request: AgentRequest, routes: Sequence[Route]) -> Iterator[Candidate]:
        """Yield the models with the tools of a run that has waited.

        They are selected again, because the process that selected them may have ended.
        """
        selections: dict[bool, ToolSelection] = {}
        for route in routes:
            hosts_mcp = route.upstream.hosts_mcp
            if hosts_mcp not in selections:
                selections[hosts_mcp] = self._tools.reselect(request, hosts_mcp=hosts_mcp)
            yield Candidate(route, selections[hosts_mcp])

    async def _models(self, request: AgentRequest, candidates: Sequence[Candidate]) -> ModelChain:
        models = ModelChain(request, candidates, self._upstreams, self._tools)
        await models.begin()
        return models

    def _budget(self, request: AgentRequest, state: BudgetState | None = None) -> Budget:
        return Budget(request, self._limits.budget, state)

    def _loop(self, context: RunContext, state: LoopState) -> AgentLoop:
        return AgentLoop(context, state, ToolRunner(context, self._http), self._limits, self._states)
