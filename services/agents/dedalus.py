"""The agent: answers requests with a model and tools, from the beginning or from a checkpoint."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from errors import McpServerFailed, ToolUnavailable
from events import RunWarning, WarningCode
from models import AgentRequest, Run
from services.agents.checkpoint import Checkpoint
from services.agents.conversation import WireMessage, conversation
from services.agents.loop import AgentLimits, AgentLoop, LoopState
from services.agents.provider_states import ProviderStates
from services.agents.run_context import RunContext
from services.agents.tool_runner import GONE, ToolRunner
from services.agents.toolbox import Toolbox, ToolSelection, Toolset
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
NO_TOOLS = RunWarning(
    code=WarningCode.TOOLS_LEFT_OUT,
    message="The embedded model's chat template does not support tools, so it answers without them.",
)


class Plan(NamedTuple):
    """A request with its route and its tools.

    Parts that these can't serve are removed from `request`, and `warnings` inform the caller about them.
    """

    request: AgentRequest
    route: Route
    tools: ToolSelection
    warnings: Sequence[RunWarning]


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

    async def plan(self, request: AgentRequest, route: Route) -> Plan:
        """Select a request's tools for a route.

        If the embedded model answers for every model, MCP servers that only Dedalus hosts are left out, with a warning.
        Raise `ToolUnavailable` or `McpUnavailable` for tools that are unavailable, and `UrlRefused` for URLs that are
        not public.
        """
        warnings: list[RunWarning] = []
        if self._upstreams.substitutes and route.upstream.kind == "local":
            request, warnings = self._tools.without_hosted(request)
        if route.substituted:
            warnings.insert(0, RunWarning(code=WarningCode.MODEL_SUBSTITUTED, message=SUBSTITUTED))
        tools = self._tools.select(request, hosts_mcp=route.upstream.hosts_mcp)
        if urls := {*tools.urls, *request.image_urls()}:
            await asyncio.gather(*map(self._guard.check_image, urls))
        return Plan(request, route, tools, warnings)

    async def run(self, plan: Plan, history: Sequence[WireMessage], run: Run, writer: RunWriter) -> Suspension | None:
        """Write every event of the run except `run_started` and the final ones.

        `history` are the messages before the request's. Return a `Suspension` if the run has to wait. Raise the error
        that the run fails with, such as `StepLimit`.
        """
        request, route = plan.request, plan.route
        await self._upstreams.ready(route.upstream)
        messages = conversation(request.instructions, history, request.input)
        call_ids = {call["id"] for message in history for call in message.get("tool_calls", ())}
        toolset = self._usable(await self._tools.complete(plan.tools), request, route)
        context = RunContext(run, request, route, toolset, writer)
        return await self._loop(context, LoopState(messages, call_ids)).turns(1)

    async def resume(
        self,
        request: AgentRequest,
        state: Mapping[str, Any],
        outcomes: Outcomes,
        route: Route,
        run: Run,
        writer: RunWriter,
    ) -> Suspension | None:
        """Continue a run that has waited, with the outcomes of its calls. Return and raise as `run` does."""
        checkpoint = Checkpoint.model_validate(state).for_family(route.family)
        await self._upstreams.ready(route.upstream)
        toolset = self._usable(await self._toolset_after_wait(request, route), request, route)
        context = RunContext(run, request, route, toolset, writer)
        loop = self._loop(context, LoopState(checkpoint.messages, set(checkpoint.call_ids)))
        return await loop.resume(checkpoint, outcomes)

    async def check_arguments(
        self, request: AgentRequest, name: str, arguments: Mapping[str, Any], route: Route
    ) -> None:
        """Raise `InvalidArguments` for arguments that a tool of a waiting run doesn't accept.

        Raise `McpServerFailed` or `ToolUnavailable` if the tool is unavailable now.
        """
        toolset = await self._toolset_after_wait(request, route)
        if tool := toolset.tools.get(name):
            tool.check(arguments)
        else:
            raise McpServerFailed if toolset.warnings else ToolUnavailable(GONE)

    async def _toolset_after_wait(self, request: AgentRequest, route: Route) -> Toolset:
        """Return the tools of a run that has waited. They are selected anew, because its process may have ended."""
        return await self._tools.complete(self._tools.reselect(request, hosts_mcp=route.upstream.hosts_mcp))

    def _usable(self, toolset: Toolset, request: AgentRequest, route: Route) -> Toolset:
        """Return the tools that the model's server accepts. Raise `ToolUnavailable` as `check_approvals` does."""
        self._tools.check_approvals(request, toolset)
        if toolset.tools and not self._upstreams.takes_tools(route.upstream):
            return Toolset({}, warnings=[*toolset.warnings, NO_TOOLS])
        return toolset

    def _loop(self, context: RunContext, state: LoopState) -> AgentLoop:
        return AgentLoop(context, state, ToolRunner(context, self._http), self._limits, self._states)
