"""The agent loop: runs model turns and tool calls, and writes them as events.

The SDK's own runner isn't used: in 0.3.0 it loses the assistant's message before tool results, usage and hosted
results.
"""

import logging
from collections.abc import Iterable
from typing import Any

from errors import OutputInvalid, StepLimit
from event_data import EventData, RunWarning, StepFinished, WarningCode
from services.agents.answer_check import MAX_REPEATS, Answer, question_again, read_answer
from services.agents.checkpoint import BudgetCheckpoint, Checkpoint, StepOutput, StepProgress
from services.agents.conversation import followed_up
from services.agents.hosted_failures import failure_warnings
from services.agents.loop_state import AgentLimits, LoopState
from services.agents.model_step import ModelStep
from services.agents.provider_states import ProviderStates
from services.agents.run_context import RunContext
from services.agents.tool_calls import ToolCalls
from services.agents.tool_runner import LAST_STEP, ToolRunner
from services.agents.turn_request import parameters_left_out
from services.completions.finish_reasons import CALL_REASONS, means_cut
from services.runs.suspension import Outcomes, SpentBudget, Suspension
from services.upstreams.model_turn import UNKNOWN_REASON, ModelTurn
from session_models import ProviderState

logger = logging.getLogger(__name__)


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

    async def turns(self, progress: StepProgress) -> Suspension | None:
        """Run the turns from this step on. Raise `StepLimit` if the last one calls tools, or `BudgetExceeded`."""
        warnings = [*self._context.toolset.warnings]
        for number in range(progress.step, self._max_steps + 1):
            step = ModelStep(progress, self._context, self._state, self._limits)
            progress = StepProgress(step=number + 1)
            if not step.is_started:
                self._put_all(warnings)
                warnings = []
            answered = await self._answer(step)
            if isinstance(answered, SpentBudget):
                return Suspension([answered], self._stored_request(), self._state_before(step))
            turn, answer = answered
            calls = step.calls
            output = self._output(step, turn)
            await self._store_provider_state(output, calls)
            if number == self._max_steps:
                self._put_all(calls.add_result(call, LAST_STEP, is_error=True) for call in calls.to_run)
            elif pending := await self._runner.run_ready(calls):
                return Suspension(pending, self._stored_request(), self._state_within(output, calls))
            if not self._finish_step(output, calls):
                self._end(answer)
                return None
        raise StepLimit

    async def _answer(self, step: ModelStep) -> tuple[ModelTurn, Answer] | SpentBudget:
        """Run a step's model turns. Ask again if its final answer doesn't match the output schema.

        Return the budget if it leaves too little for the next turn.
        """
        while True:
            turn = await step.answer()
            if isinstance(turn, SpentBudget):
                return turn
            self._put_all(step.calls.add_missing_results())
            cut_reason = _cut_reason(turn, step)
            if cut_reason:
                self._put_all(step.calls.reject_cut(cut_reason))
            await self._writer.commit()
            schema = self._context.request.output_schema
            if schema is None or step.calls.ours:
                return turn, Answer()
            answer = await read_answer(self._writer.text, schema, cut_reason)
            if not answer.faults and not await step.passes(answer.value):
                continue
            self._state.invalid_answers += bool(answer.faults)
            if not answer.faults or self._state.invalid_answers > MAX_REPEATS:
                return turn, answer
            self._ask_again(step, turn, question_again(answer, schema))

    def _ask_again(self, step: ModelStep, turn: ModelTurn, question: str) -> None:
        """Restart a step whose answer doesn't match. The answer and its faults are sent to the model."""
        logger.info("the answer of step %d does not match the output schema, and is asked for again", step.number)
        self._state.messages = followed_up(self._state.messages, self._writer.text, turn.reasoning, question)
        self._state.correlation_id = turn.reports.correlation_id or self._state.correlation_id
        step.restart("output_invalid")

    def _end(self, answer: Answer) -> None:
        """End with the answer. Raise `OutputInvalid` if it doesn't match the output schema."""
        if answer.faults:
            raise OutputInvalid
        if self._context.request.output_schema is not None:
            self._writer.answer_with(answer.value, attempts=self._state.invalid_answers + 1)

    async def resume(self, checkpoint: Checkpoint, outcomes: Outcomes) -> Suspension | None:
        """Continue in the middle of a step's calls, with their outcomes. Return and raise as `turns` does."""
        self._state.invalid_answers = checkpoint.invalid_answers
        self._state.passed = checkpoint.passed
        calls = self._state.calls(self._context, self._limits, checkpoint.calls)
        await self._runner.run_answered(calls, outcomes)
        self._finish_step(checkpoint, calls)
        return await self.turns(StepProgress(step=checkpoint.step + 1))

    async def resume_before(self, checkpoint: BudgetCheckpoint) -> Suspension | None:
        """Continue before an attempt, after the budget was raised. Return and raise as `turns` does."""
        self._state.invalid_answers = checkpoint.invalid_answers
        self._state.passed = checkpoint.passed
        self._state.correlation_id = checkpoint.correlation_id
        self._state.deferred_calls = checkpoint.deferred_calls
        return await self.turns(checkpoint)

    def _output(self, step: ModelStep, turn: ModelTurn) -> StepOutput:
        return StepOutput(
            step=step.number,
            text=self._writer.text,
            reasoning=turn.reasoning,
            finish_reason=turn.finish_reason,
            usage=step.usage,
            correlation_id=turn.reports.correlation_id or self._state.correlation_id,
            deferred_calls=turn.reports.deferred_calls,
            model=step.model,
            warnings=self._server_warnings(turn),
        )

    def _server_warnings(self, turn: ModelTurn) -> list[RunWarning]:
        """Return warnings about the MCP servers that the upstream could not use, each server once."""
        known, errors = self._state.unavailable, turn.reports.mcp_server_errors
        new = {name: advice for name, advice in errors.items() if name not in known}
        known |= set(new)
        return failure_warnings(new, self._context.toolset.hosted)

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
        model, reason = output.model or self._context.route.model, output.finish_reason
        self._writer.put(StepFinished(step=output.step, model=model, finish_reason=reason, usage=output.usage))
        self._put_all(output.warnings)
        self._report_left_out()
        if not calls.all and (message := _empty_answer(output.text, reason)):
            self._writer.put(RunWarning(code=WarningCode.EMPTY_ANSWER, message=message))
        if not calls.ours:
            return False
        self._state.messages += calls.messages(output.text, output.reasoning)
        self._state.correlation_id = output.correlation_id
        self._state.deferred_calls = output.deferred_calls
        return True

    def _report_left_out(self) -> None:
        """Warn once about each parameter of the request that the model server doesn't accept."""
        for name in parameters_left_out(self._context):
            if name not in self._state.left_out:
                message = (
                    f"The model server does not accept {name} as the request sets it. The answer was made without it."
                )
                self._writer.put(RunWarning(code=WarningCode.PARAMETER_LEFT_OUT, message=message))
                self._state.left_out.add(name)

    def _stored_request(self) -> dict[str, Any]:
        """Return the request for the suspension, with the model that answers now.

        It has no conversation, because the checkpoint's messages hold that.
        """
        request = self._context.request.model_dump(mode="json", exclude={"input", "messages"})
        return request | {"input": "…", "model": self._context.route.model}

    def _state_within(self, output: StepOutput, calls: ToolCalls) -> dict[str, Any]:
        """Return the run's state in the middle of a step's calls, as JSON."""
        checkpoint = Checkpoint(**output.model_dump(), calls=calls.all, **self._run_state())
        return checkpoint.model_dump(mode="json")

    def _state_before(self, step: ModelStep) -> dict[str, Any]:
        """Return the run's state before an attempt of a step, as JSON."""
        checkpoint = BudgetCheckpoint(
            **step.progress.model_dump(),
            correlation_id=self._state.correlation_id,
            deferred_calls=self._state.deferred_calls,
            **self._run_state(),
        )
        return checkpoint.model_dump(mode="json")

    def _run_state(self) -> dict[str, Any]:
        return {
            "messages": self._state.messages,
            "call_ids": sorted(self._state.call_ids),
            "family": self._context.route.family,
            "models": self._context.models.names,
            "invalid_answers": self._state.invalid_answers,
            "passed": self._state.passed,
            "budget": self._context.budget.state,
        }

    def _put_all(self, events: Iterable[EventData]) -> None:
        for event in events:
            self._writer.put(event)


def _cut_reason(turn: ModelTurn, step: ModelStep) -> str | None:
    """Return why the answer was cut off, if it was.

    vLLM reports `tool_calls` for an answer that used up its tokens (vllm#58228), so tokens are counted, too. Without a
    finish reason, a call without arguments is a sign of a cut.
    """
    if means_cut(turn.finish_reason):
        return turn.finish_reason
    if turn.finish_reason == UNKNOWN_REASON and step.calls.unbegun:
        return "no finish reason"
    return "length" if step.max_tokens and (turn.usage.output_tokens or 0) >= step.max_tokens else None


def _empty_answer(text: str, reason: str) -> str:
    """Return what a turn without calls lacks, or an empty string if it lacks nothing."""
    if reason in CALL_REASONS:
        return "The model server announced tool calls and sent none."
    return "" if text.strip() else "The model ended its turn without an answer."
