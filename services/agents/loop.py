"""The agent loop: model turns and tool calls in, events out.

Not the SDK's own runner: in 0.3.0 that loses the assistant's message before tool results, usage and hosted results.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from errors import StepLimit
from events import EventData, PartialOutput, RunWarning, StepFinished, StepStarted, Thinking, WarningCode
from models import AgentRequest
from services.agents.checkpoint import Checkpoint, Said
from services.agents.conversation import WireMessage
from services.agents.provider_states import ProviderStates
from services.agents.tool_calls import Call, ToolCalls
from services.agents.tool_runner import LAST_STEP, ToolRunner
from services.agents.toolbox import Toolset
from services.completions.chunks import CallDelta, Delta, HostedResult, TextDelta, ThinkingDelta
from services.completions.finish_reasons import CALL_REASONS, means_cut
from services.runs.suspension import Outcomes, Suspension
from services.runs.writer import RunWriter
from services.tooling.base import Tool
from services.upstreams.model_turn import UNKNOWN_REASON, Deadlines, ModelTurn, model_turn
from services.upstreams.selection import Route
from services.upstreams.wire_rules import left_out
from session_models import ProviderState

SAME_ON_THE_WIRE = ("temperature", "top_p", "max_tokens", "reasoning_effort", "stop", "seed", "response_format")


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """What bounds a run's turns. Times are in seconds, sizes in bytes of UTF-8."""

    deadlines: Deadlines
    max_steps: int
    max_tool_result_bytes: int
    max_calls_per_turn: int


@dataclass(slots=True)
class AgentLoop:
    """One run's turns."""

    request: AgentRequest
    route: Route
    limits: AgentLimits
    choice: Toolset
    runner: ToolRunner
    events: RunWriter
    states: ProviderStates
    messages: list[WireMessage]
    call_ids: set[str]
    correlation_id: str | None = field(default=None)
    left_out: set[str] = field(default_factory=set)

    @property
    def max_steps(self) -> int:
        """How many model turns the run may have."""
        return self.request.max_steps or self.limits.max_steps

    async def turns(self, first: int) -> Suspension | None:
        """Run the turns from a step on. Raise `StepLimit`."""
        _put_all(self.choice.warnings, self.events)
        for step in range(first, self.max_steps + 1):
            self.events.put(StepStarted(step=step, model=self.route.model))
            await self.events.commit()
            calls = self._calls()
            turn = await self._turn(calls)
            _put_all(calls.unreported(), self.events)
            if reason := self._cut(turn, calls):
                _put_all(calls.cut(reason), self.events)
            await self.events.commit()
            said = self._said(step, turn)
            await self._keep(said, calls)
            if step == self.max_steps:
                _put_all((calls.answer(call, LAST_STEP, is_error=True) for call in calls.to_run), self.events)
            elif pending := await self.runner.run_ready(calls):
                return Suspension(pending, self._asked(), self._checkpoint(said, calls).model_dump(mode="json"))
            if not self._finish(said, calls):
                return None
        raise StepLimit

    async def resume(self, left: Checkpoint, outcomes: Outcomes) -> Suspension | None:
        """Continue from where the run was left off, with the results of its calls."""
        calls = self._calls(left.calls)
        await self.runner.run_answered(calls, outcomes)
        self._finish(left, calls)
        return await self.turns(left.step + 1)

    def _said(self, step: int, turn: ModelTurn) -> Said:
        return Said(
            step=step,
            text=self.events.text,
            reasoning=turn.reasoning,
            finish_reason=turn.finish_reason,
            usage=turn.usage,
            correlation_id=turn.correlation_id or self.correlation_id,
        )

    async def _keep(self, said: Said, calls: ToolCalls) -> None:
        """Keep what the provider wants back in a later run, before a tool is run: no crash comes between the two."""
        run = self.runner.run
        state = ProviderState(
            run_id=run.run_id,
            step=said.step,
            family=self.route.family,
            message=said.reasoning,
            calls=calls.as_they_came(),
        )
        await self.states.keep(run, state)

    def _finish(self, said: Said, calls: ToolCalls) -> bool:
        """The turn and its tools are over; whether there is another."""
        model, reason = self.route.model, said.finish_reason
        self.events.put(StepFinished(step=said.step, model=model, finish_reason=reason, usage=said.usage))
        self._report_left_out()
        if message := "" if calls.all else _missing(said.text, reason):
            self.events.put(RunWarning(code=WarningCode.EMPTY_ANSWER, message=message))
        if not calls.ours:
            return False
        self.messages += calls.messages(said.text, said.reasoning)
        self.correlation_id = said.correlation_id
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

    def _checkpoint(self, said: Said, calls: ToolCalls) -> Checkpoint:
        return Checkpoint(
            **said.model_dump(),
            messages=self.messages,
            calls=calls.all,
            call_ids=sorted(self.call_ids),
            family=self.route.family,
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

    def _cut(self, turn: ModelTurn, calls: ToolCalls) -> str | None:
        """Why the answer was cut, if it was. vLLM says `tool_calls` of one that used up its tokens (vllm#58228).

        Without a finish reason, a call whose arguments haven't begun may be where it was cut.
        """
        if means_cut(turn.finish_reason):
            return turn.finish_reason
        if turn.finish_reason == UNKNOWN_REASON and calls.unbegun:
            return "no finish reason"
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


def _tell(delta: Delta, calls: ToolCalls, events: RunWriter) -> None:
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


def _put_all(told: Iterable[EventData], events: RunWriter) -> None:
    for event in told:
        events.put(event)
