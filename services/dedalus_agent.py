"""The agent loop: model turns and tool calls in, events out.

Not the SDK's own runner: in 0.3.0 that loses the assistant's message before tool results, usage and hosted results.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from errors import McpServerFailed, StepLimit, ToolUnavailable
from events import EventData, PartialOutput, RunWarning, StepFinished, StepStarted, Thinking, Usage, WarningCode
from models import AgentRequest, Run
from services.chat_chunks import CallDelta, Delta, HostedResult, TextDelta, ThinkingDelta
from services.dedalus_stream import Deadlines, ModelTurn, model_turn
from services.finish_reasons import CALL_REASONS, means_cut
from services.guarded_http import GuardedClient
from services.history import WireMessage, conversation
from services.run_events import RunEvents
from services.run_tools import RunTools, ToolChoice
from services.run_wait import Outcomes, Suspension
from services.tool_calls import Call, ToolCalls
from services.tool_running import GONE, LAST_STEP, ToolRunner
from services.tools import Tool
from services.upstreams import Route, Upstreams
from services.url_guard import UrlGuard
from services.wire_rules import left_out

SUBSTITUTED = (
    "No model server is configured, so the embedded model answers in place of the one that was named. Set "
    "DEDALUS_API_KEY, a provider's key or DEDALUS_BASE_URL; MODEL_SUBSTITUTION=off refuses such requests."
)
NO_TOOLS = RunWarning(
    code=WarningCode.TOOLS_LEFT_OUT,
    message="The embedded model's chat template has no place for tools: it answers without those of the request.",
)
SAME_ON_THE_WIRE = ("temperature", "top_p", "max_tokens", "reasoning_effort", "stop", "seed", "response_format")


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """What bounds an agent's work. Times are in seconds, sizes in bytes of UTF-8."""

    deadlines: Deadlines
    max_steps: int
    max_tool_result_bytes: int
    max_calls_per_turn: int


class LeftOff(BaseModel):
    """Where a run was left off that waits: in the middle of a turn's calls. It is kept as JSON.

    `messages` are what the turn was told, and `text` is what the model said in it beside its calls.
    """

    messages: list[WireMessage]
    step: int
    text: str
    calls: list[Call]
    call_ids: list[str]
    finish_reason: str
    usage: Usage
    correlation_id: str | None


class DedalusAgent:
    """Answers requests with a model, turn by turn, until it calls no more tools of ours."""

    def __init__(
        self, upstreams: Upstreams, limits: AgentLimits, tools: RunTools, guard: UrlGuard, http: GuardedClient
    ) -> None:
        self._upstreams = upstreams
        self._limits = limits
        self._tools = tools
        self._guard = guard
        self._http = http

    def fitted(self, request: AgentRequest, route: Route) -> tuple[AgentRequest, Sequence[RunWarning]]:
        """The request as the route serves it. A substitute leaves out the MCP servers that it can't be given."""
        if not route.substituted:
            return request, ()
        request, warnings = self._tools.without_hosted(request)
        return request, (RunWarning(code=WarningCode.MODEL_SUBSTITUTED, message=SUBSTITUTED), *warnings)

    async def check(self, request: AgentRequest, route: Route) -> None:
        """Raise `ToolUnavailable` or `McpUnavailable` for tools that are not there, `UrlRefused` for its URLs."""
        servers = self._tools.check(request, hosts_mcp=route.upstream.hosts_mcp)
        if urls := {*servers, *request.image_urls()}:
            await asyncio.gather(*map(self._guard.check_image, urls))

    async def run(
        self, request: AgentRequest, route: Route, history: Sequence[WireMessage], run: Run, events: RunEvents
    ) -> Suspension | None:
        """Write the whole run but for its ends, or as far as it can go without others.

        `history` is what was said before. Raise what it failed with, `StepLimit` included.
        """
        await self._upstreams.ready(route.upstream)
        messages = conversation(request.instructions, history, request.input)
        call_ids = {call["id"] for message in history for call in message.get("tool_calls", ())}
        loop = await self._loop(request, route, run, events, messages, call_ids)
        return await loop.turns(1)

    async def resume(
        self,
        request: AgentRequest,
        state: Mapping[str, Any],
        outcomes: Outcomes,
        route: Route,
        run: Run,
        events: RunEvents,
    ) -> Suspension | None:
        """Go on with a run that has waited, with what its calls got. Raise as `run` does."""
        left = LeftOff.model_validate(state)
        await self._upstreams.ready(route.upstream)
        loop = await self._loop(request, route, run, events, left.messages, set(left.call_ids))
        return await loop.go_on(left, outcomes)

    async def check_arguments(
        self, request: AgentRequest, name: str, arguments: Mapping[str, Any], route: Route
    ) -> None:
        """Raise `InvalidArguments` for what a call of a waiting run could not be made with.

        Raise `McpServerFailed` or `ToolUnavailable` where that can't be told, since the tool isn't there now.
        """
        choice = await self._tools.of(request, hosts_mcp=route.upstream.hosts_mcp)
        if tool := choice.tools.get(name):
            tool.check(arguments)
        else:
            raise McpServerFailed if choice.warnings else ToolUnavailable(GONE)

    async def _loop(
        self,
        request: AgentRequest,
        route: Route,
        run: Run,
        events: RunEvents,
        messages: list[WireMessage],
        call_ids: set[str],
    ) -> "_Loop":
        choice = await self._tools.of(request, hosts_mcp=route.upstream.hosts_mcp)
        self._tools.check_approvals(request, choice)
        if choice.tools and not self._upstreams.takes_tools(route.upstream):
            choice = ToolChoice({}, warnings=[*choice.warnings, NO_TOOLS])
        runner = ToolRunner(run, choice, frozenset(request.require_approval or ()), events, self._http)
        return _Loop(request, route, self._limits, choice, runner, events, messages, call_ids)


@dataclass(slots=True)
class _Loop:
    """One run's turns."""

    request: AgentRequest
    route: Route
    limits: AgentLimits
    choice: ToolChoice
    runner: ToolRunner
    events: RunEvents
    messages: list[WireMessage]
    call_ids: set[str]
    correlation_id: str | None = field(default=None)
    left_out: set[str] = field(default_factory=set)

    @property
    def max_steps(self) -> int:
        return self.request.max_steps or self.limits.max_steps

    async def turns(self, first: int) -> Suspension | None:
        """From a step on. Raise `StepLimit`."""
        _put_all(self.choice.warnings, self.events)
        for step in range(first, self.max_steps + 1):
            self.events.put(StepStarted(step=step, model=self.route.model))
            await self.events.commit()
            calls = self._calls()
            turn = await self._turn(calls)
            _put_all(calls.unreported(), self.events)
            if reason := self._cut(turn):
                _put_all(calls.cut(reason), self.events)
            await self.events.commit()
            if step == self.max_steps:
                _put_all((calls.answer(call, LAST_STEP, is_error=True) for call in calls.to_run), self.events)
            elif pending := await self.runner.first(calls):
                return Suspension(pending, self._asked(), self._left_off(step, calls, turn).model_dump(mode="json"))
            if not self._finish(step, calls, self.events.answer, turn.finish_reason, turn.usage, turn.correlation_id):
                return None
        raise StepLimit

    async def go_on(self, left: LeftOff, outcomes: Outcomes) -> Suspension | None:
        """From where it was left off."""
        calls = self._calls(left.calls)
        await self.runner.then(calls, outcomes)
        self._finish(left.step, calls, left.text, left.finish_reason, left.usage, left.correlation_id)
        return await self.turns(left.step + 1)

    def _finish(
        self, step: int, calls: ToolCalls, text: str, reason: str, usage: Usage, correlation_id: str | None
    ) -> bool:
        """The turn and its tools are over; whether there is another."""
        self.events.put(StepFinished(step=step, model=self.route.model, finish_reason=reason, usage=usage))
        self._report_left_out()
        if message := "" if calls.all else _missing(text, reason):
            self.events.put(RunWarning(code=WarningCode.EMPTY_ANSWER, message=message))
        if not calls.ours:
            return False
        self.messages += calls.messages(text)
        self.correlation_id = correlation_id or self.correlation_id
        return True

    def _report_left_out(self) -> None:
        """Warn once of each parameter of the request that the model's server doesn't take."""
        rules = self.route.rules
        if not rules.left_out:
            return
        asked = self.request.model_dump(include={*SAME_ON_THE_WIRE}, exclude_none=True)
        for name in sorted(name for name, value in asked.items() if left_out(name, value, rules)):
            if name not in self.left_out:
                message = f"The model's server does not take {name} as it was set: the answer was made without it."
                self.events.put(RunWarning(code=WarningCode.PARAMETER_LEFT_OUT, message=message))
                self.left_out.add(name)

    def _asked(self) -> dict[str, Any]:
        """The request, but for what was said, which the messages have."""
        return self.request.model_dump(mode="json", exclude={"input", "messages"}) | {"input": "…"}

    def _left_off(self, step: int, calls: ToolCalls, turn: ModelTurn) -> LeftOff:
        return LeftOff(
            messages=self.messages,
            step=step,
            text=self.events.answer,
            calls=calls.all,
            call_ids=sorted(self.call_ids),
            finish_reason=turn.finish_reason,
            usage=turn.usage,
            correlation_id=turn.correlation_id or self.correlation_id,
        )

    def _calls(self, left: Iterable[Call] = ()) -> ToolCalls:
        choice, limits = self.choice, self.limits
        return ToolCalls(
            choice.tools,
            choice.hosted,
            self.route.upstream.hosts_mcp,
            limits.max_tool_result_bytes,
            limits.max_calls_per_turn,
            self.call_ids,
            left,
        )

    async def _turn(self, calls: ToolCalls) -> ModelTurn:
        """One model turn, each read's deltas committed together."""
        async with model_turn(self.route, self._body(), self.limits.deadlines) as turn:
            async for deltas in turn:
                for delta in deltas:
                    _tell(delta, calls, self.events)
                await self.events.commit()
        _put_all(calls.complete(), self.events)
        return turn

    def _cut(self, turn: ModelTurn) -> str | None:
        """Why the answer was cut, if it was. vLLM says `tool_calls` of one that used up its tokens (vllm#58228)."""
        if means_cut(turn.finish_reason):
            return turn.finish_reason
        most = self.request.max_tokens or self.route.upstream.defaults.get("max_tokens")
        return "length" if most and (turn.usage.output_tokens or 0) >= most else None

    def _body(self) -> dict[str, Any]:
        request, route = self.request, self.route
        asked = {key: value for key in SAME_ON_THE_WIRE if (value := getattr(request, key)) is not None}
        if self.choice.hosted:
            asked["mcp_servers"] = list(self.choice.hosted)
        if self.choice.tools:
            asked["tools"] = [_schema(tool) for tool in self.choice.tools.values()]
        if self.correlation_id is not None:
            asked["correlation_id"] = self.correlation_id
        return {
            **route.upstream.defaults,
            **asked,
            "model": route.wire_model,
            "messages": self.messages,
            "stream": True,
            "stream_options": {"include_usage": True},
        }


def _schema(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _tell(delta: Delta, calls: ToolCalls, events: RunEvents) -> None:
    match delta:
        case TextDelta(text):
            events.put(PartialOutput(content=text))
        case ThinkingDelta(text):
            events.put(Thinking(content=text))
        case CallDelta():
            _put_all(calls.piece(delta), events)
        case HostedResult():
            _put_all(calls.hosted_result(delta), events)


def _missing(text: str, reason: str) -> str:
    """What a turn without calls lacks though it ended well; empty where it lacks nothing."""
    if reason in CALL_REASONS:
        return "The model's server announced tool calls and sent none."
    return "" if text.strip() else "The model ended its turn without an answer."


def _put_all(told: Iterable[EventData], events: RunEvents) -> None:
    for event in told:
        events.put(event)
