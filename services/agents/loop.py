"""The agent loop: runs model turns and tool calls, and writes them as events.

The SDK's own runner isn't used: in 0.3.0 it loses the assistant's message before tool results, usage and hosted
results.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from errors import StepLimit
from events import EventData, PartialOutput, RunWarning, StepFinished, StepStarted, Thinking, WarningCode
from services.agents.checkpoint import Checkpoint, StepOutput
from services.agents.conversation import WireMessage
from services.agents.provider_states import ProviderStates
from services.agents.run_context import RunContext
from services.agents.tool_calls import Call, ToolCalls
from services.agents.tool_runner import LAST_STEP, ToolRunner
from services.agents.turn_request import parameters_left_out, request_body
from services.completions.chunks import CallDelta, Delta, HostedResult, TextDelta, ThinkingDelta
from services.completions.finish_reasons import CALL_REASONS, means_cut
from services.runs.suspension import Outcomes, Suspension
from services.upstreams.model_turn import UNKNOWN_REASON, Deadlines, ModelTurn, model_turn
from session_models import ProviderState


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """The limits of a run's turns. Times are in seconds, sizes in bytes of UTF-8."""

    deadlines: Deadlines
    max_steps: int
    max_tool_result_bytes: int
    max_calls_per_turn: int


@dataclass(slots=True)
class LoopState:
    """The part of a loop that grows from turn to turn.

    `messages` are those of the next turn's request. `call_ids` are the ids of all calls so far. `left_out` are the
    parameters that the caller has been warned about.
    """

    messages: list[WireMessage]
    call_ids: set[str]
    correlation_id: str | None = None
    left_out: set[str] = field(default_factory=set)


class AgentLoop:
    """The turns of one run."""

    def __init__(
        self, context: RunContext, state: LoopState, runner: ToolRunner, limits: AgentLimits, states: ProviderStates
    ) -> None:
        self._context = context
        self._writer = context.writer
        self._state = state
        self._runner = runner
        self._limits = limits
        self._provider_states = states
        self._max_steps = context.request.max_steps or limits.max_steps

    async def turns(self, first_step: int) -> Suspension | None:
        """Run the turns from this step on. Raise `StepLimit` if the last one calls tools."""
        self._put_all(self._context.toolset.warnings)
        for step in range(first_step, self._max_steps + 1):
            self._writer.put(StepStarted(step=step, model=self._context.route.model))
            await self._writer.commit()
            calls = self._calls()
            turn = await self._turn(calls)
            self._put_all(calls.add_missing_results())
            if reason := self._cut_reason(turn, calls):
                self._put_all(calls.reject_cut(reason))
            await self._writer.commit()
            output = self._output(step, turn)
            await self._store_provider_state(output, calls)
            if step == self._max_steps:
                self._put_all(calls.add_result(call, LAST_STEP, is_error=True) for call in calls.to_run)
            elif pending := await self._runner.run_ready(calls):
                checkpoint = self._checkpoint(output, calls)
                return Suspension(pending, self._stored_request(), checkpoint.model_dump(mode="json"))
            if not self._finish_step(output, calls):
                return None
        raise StepLimit

    async def resume(self, checkpoint: Checkpoint, outcomes: Outcomes) -> Suspension | None:
        """Continue from a checkpoint, with the outcomes of its calls. Return and raise as `turns` does."""
        calls = self._calls(checkpoint.calls)
        await self._runner.run_answered(calls, outcomes)
        self._finish_step(checkpoint, calls)
        return await self.turns(checkpoint.step + 1)

    def _output(self, step: int, turn: ModelTurn) -> StepOutput:
        return StepOutput(
            step=step,
            text=self._writer.text,
            reasoning=turn.reasoning,
            finish_reason=turn.finish_reason,
            usage=turn.usage,
            correlation_id=turn.correlation_id or self._state.correlation_id,
        )

    async def _store_provider_state(self, output: StepOutput, calls: ToolCalls) -> None:
        """Store what the provider wants back in a later run.

        This is done before a tool runs. A crash after a tool's effect must not lose the state of the call.
        """
        run, route = self._context.run, self._context.route
        state = ProviderState(
            run_id=run.run_id,
            step=output.step,
            family=route.family,
            message=output.reasoning,
            calls=calls.provider_states(),
        )
        await self._provider_states.keep(run, state)

    def _finish_step(self, output: StepOutput, calls: ToolCalls) -> bool:
        """Finish a step after its tools have run. Return whether another one follows."""
        model, reason = self._context.route.model, output.finish_reason
        self._writer.put(StepFinished(step=output.step, model=model, finish_reason=reason, usage=output.usage))
        self._report_left_out()
        if message := "" if calls.all else _empty_answer(output.text, reason):
            self._writer.put(RunWarning(code=WarningCode.EMPTY_ANSWER, message=message))
        if not calls.ours:
            return False
        self._state.messages += calls.messages(output.text, output.reasoning)
        self._state.correlation_id = output.correlation_id
        return True

    def _report_left_out(self) -> None:
        """Warn once about each parameter of the request that the model's server doesn't accept."""
        for name in parameters_left_out(self._context):
            if name not in self._state.left_out:
                message = (
                    f"The model's server does not accept {name} as the request sets it. The answer was made without it."
                )
                self._writer.put(RunWarning(code=WarningCode.PARAMETER_LEFT_OUT, message=message))
                self._state.left_out.add(name)

    def _stored_request(self) -> dict[str, Any]:
        """Return the request for the suspension, without its conversation, which the checkpoint's messages hold."""
        return self._context.request.model_dump(mode="json", exclude={"input", "messages"}) | {"input": "…"}

    def _checkpoint(self, output: StepOutput, calls: ToolCalls) -> Checkpoint:
        return Checkpoint(
            **output.model_dump(),
            messages=self._state.messages,
            calls=calls.all,
            call_ids=sorted(self._state.call_ids),
            family=self._context.route.family,
        )

    def _calls(self, earlier: Iterable[Call] = ()) -> ToolCalls:
        return ToolCalls(
            self._context.toolset,
            self._context.route.upstream.hosts_mcp,
            self._limits.max_tool_result_bytes,
            self._limits.max_calls_per_turn,
            self._state.call_ids,
            earlier,
        )

    async def _turn(self, calls: ToolCalls) -> ModelTurn:
        """Run one model turn.

        The deltas of one read are committed together. So a fast model costs fewer writes, and a slow one is shown
        token by token.
        """
        body = request_body(self._context, self._state.messages, self._state.correlation_id)
        async with model_turn(self._context.route, body, self._limits.deadlines) as turn:
            async for deltas in turn:
                for delta in deltas:
                    self._put(delta, calls)
                await self._writer.commit()
        self._put_all(calls.complete())
        return turn

    def _put(self, delta: Delta, calls: ToolCalls) -> None:
        match delta:
            case TextDelta(text):
                self._writer.put(PartialOutput(content=text))
            case ThinkingDelta(text):
                self._writer.put(Thinking(content=text))
            case CallDelta():
                self._put_all(calls.add_piece(delta))
            case HostedResult():
                self._put_all(calls.add_hosted_result(delta))

    def _put_all(self, events: Iterable[EventData]) -> None:
        for event in events:
            self._writer.put(event)

    def _cut_reason(self, turn: ModelTurn, calls: ToolCalls) -> str | None:
        """Return why the answer was cut off, if it was.

        vLLM reports `tool_calls` for an answer that used up its tokens (vllm#58228), so tokens are counted, too.
        Without a finish reason, a call without arguments is a sign of a cut.
        """
        if means_cut(turn.finish_reason):
            return turn.finish_reason
        if turn.finish_reason == UNKNOWN_REASON and calls.unbegun:
            return "no finish reason"
        request, upstream = self._context.request, self._context.route.upstream
        max_tokens = request.max_tokens or upstream.defaults.get("max_tokens")
        return "length" if max_tokens and (turn.usage.output_tokens or 0) >= max_tokens else None


def _empty_answer(text: str, reason: str) -> str:
    """Return what a turn without calls lacks, or an empty string if it lacks nothing."""
    if reason in CALL_REASONS:
        return "The model's server announced tool calls and sent none."
    return "" if text.strip() else "The model ended its turn without an answer."
