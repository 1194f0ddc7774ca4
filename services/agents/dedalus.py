"""The agent: answers requests with a model and tools, from the beginning or from where a run was left off."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from errors import McpServerFailed, ToolUnavailable
from events import RunWarning, WarningCode
from models import AgentRequest, Run
from services.agents.base import Plan
from services.agents.checkpoint import Checkpoint
from services.agents.conversation import WireMessage, conversation
from services.agents.loop import AgentLimits, AgentLoop
from services.agents.provider_states import ProviderStates
from services.agents.tool_runner import GONE, ToolRunner
from services.agents.toolbox import Toolbox, Toolset
from services.outbound.client import GuardedClient
from services.outbound.url_guard import UrlGuard
from services.runs.suspension import Outcomes, Suspension
from services.runs.writer import RunWriter
from services.upstreams.selection import Route, Upstreams

SUBSTITUTED = (
    "No model server is configured, so the embedded model answers in place of the one that was named. Set "
    "DEDALUS_API_KEY, a provider's key or DEDALUS_BASE_URL; MODEL_SUBSTITUTION=off refuses such requests."
)
NO_TOOLS = RunWarning(
    code=WarningCode.TOOLS_LEFT_OUT,
    message="The embedded model's chat template has no place for tools: it answers without those of the request.",
)


class DedalusAgent:
    """Answers requests with a model, turn by turn, until it calls no more tools of ours."""

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
        """Choose what the request runs with.

        A substitute for the named model leaves out the MCP servers that it can't be given. Raise `ToolUnavailable` or
        `McpUnavailable` for tools that are unavailable, and `UrlRefused` for URLs that are not public.
        """
        warnings: list[RunWarning] = []
        if route.substituted:
            request, warnings = self._tools.without_hosted(request)
            warnings.insert(0, RunWarning(code=WarningCode.MODEL_SUBSTITUTED, message=SUBSTITUTED))
        tools = self._tools.select(request, hosts_mcp=route.upstream.hosts_mcp)
        if urls := {*tools.urls, *request.image_urls()}:
            await asyncio.gather(*map(self._guard.check_image, urls))
        return Plan(request, route, tools, warnings)

    async def run(self, plan: Plan, history: Sequence[WireMessage], run: Run, events: RunWriter) -> Suspension | None:
        """Write every event of the run except `run_started` and the final ones.

        `history` are the messages before the request's. Return a `Suspension` if the run has to wait. Raise the error
        that it fails with, such as `StepLimit`.
        """
        request, route = plan.request, plan.route
        await self._upstreams.ready(route.upstream)
        messages = conversation(request.instructions, history, request.input)
        call_ids = {call["id"] for message in history for call in message.get("tool_calls", ())}
        tools = await self._tools.complete(plan.tools)
        loop = self._loop(request, route, tools, run, events, messages, call_ids)
        return await loop.turns(1)

    async def resume(
        self,
        request: AgentRequest,
        state: Mapping[str, Any],
        outcomes: Outcomes,
        route: Route,
        run: Run,
        events: RunWriter,
    ) -> Suspension | None:
        """Continue a run that has waited, with the outcomes of its calls. Return and raise as `run` does."""
        left = Checkpoint.model_validate(state).to(route.family)
        await self._upstreams.ready(route.upstream)
        tools = await self._tools_again(request, route)
        loop = self._loop(request, route, tools, run, events, left.messages, set(left.call_ids))
        return await loop.resume(left, outcomes)

    async def check_arguments(
        self, request: AgentRequest, name: str, arguments: Mapping[str, Any], route: Route
    ) -> None:
        """Raise `InvalidArguments` for what a call of a waiting run could not be made with.

        Raise `McpServerFailed` or `ToolUnavailable` where that can't be told, since the tool isn't there now.
        """
        choice = await self._tools_again(request, route)
        if tool := choice.tools.get(name):
            tool.check(arguments)
        else:
            raise McpServerFailed if choice.warnings else ToolUnavailable(GONE)

    async def _tools_again(self, request: AgentRequest, route: Route) -> Toolset:
        """Return the tools of a run that has waited, perhaps for longer than this process has been there."""
        return await self._tools.complete(self._tools.reselect(request, hosts_mcp=route.upstream.hosts_mcp))

    def _loop(
        self,
        request: AgentRequest,
        route: Route,
        choice: Toolset,
        run: Run,
        events: RunWriter,
        messages: list[WireMessage],
        call_ids: set[str],
    ) -> AgentLoop:
        self._tools.check_approvals(request, choice)
        if choice.tools and not self._upstreams.takes_tools(route.upstream):
            choice = Toolset({}, warnings=[*choice.warnings, NO_TOOLS])
        runner = ToolRunner(run, choice, frozenset(request.require_approval or ()), events, self._http)
        return AgentLoop(request, route, self._limits, choice, runner, events, self._states, messages, call_ids)
