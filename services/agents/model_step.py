"""One step of a run: model turns, one after another, until one has answered without a failure."""

import logging
from collections.abc import Iterable
from typing import Any

from errors import AgentStreamError, OutputBlocked, UpstreamDropped, UpstreamTimeout
from event_data import (
    EventData,
    PartialOutput,
    RestartReason,
    RunWarning,
    Source,
    StepRestarted,
    StepStarted,
    Thinking,
    WarningCode,
)
from services.agents.checkpoint import StepProgress
from services.agents.loop_state import AgentLimits, LoopState
from services.agents.run_context import RunContext
from services.agents.tool_calls import ToolCalls
from services.agents.turn_request import request_body
from services.completions.chunks import CallDelta, Delta, HostedResult, SourceDelta, TextDelta, ThinkingDelta
from services.runs.suspension import SpentBudget
from services.upstreams.model_turn import ModelTurn, model_turn
from services.upstreams.prices import Price
from services.upstreams.wire_rules import OUTPUT_LIMIT
from usage_models import NO_USAGE

logger = logging.getLogger(__name__)

NO_ANSWER = (UpstreamTimeout, UpstreamDropped)
"""Failures without an answer that would show what the server has done."""


class ModelStep:
    """A step under way. `usage` is that of all its attempts so far, and `calls` are those of the present one.

    After a failure that another model may not have, the run's next model takes over. A `warning` reports this if the
    log has nothing of the step yet, and `step_restarted` if it has. So while another model can take over, even one that
    the server chooses, `step_started` is written with the first deltas. `max_tokens` is the limit of the present
    attempt's output.

    With CHECK_OUTPUT, what the model says is held back until it is checked. If it is blocked, the step can begin again.
    """

    def __init__(self, progress: StepProgress, context: RunContext, state: LoopState, limits: AgentLimits) -> None:
        self.number = progress.step
        self.usage = progress.usage
        self._unreported = progress.unreported
        self.is_started = progress.is_started
        self._restart_reason = progress.restart_reason
        self._was_blocked = progress.was_blocked
        self._context = context
        self._writer = context.writer
        self._state = state
        self._limits = limits
        self._checked = state.checked_output(context, limits, self.number)
        self._output = self._checked or self._writer
        self._turn: ModelTurn | None = None
        self._prompt_tokens = 0
        self.max_tokens: int | None = None
        self.calls = self._no_calls()

    @property
    def progress(self) -> StepProgress:
        """The step's state between two attempts."""
        return StepProgress(
            step=self.number,
            usage=self.usage,
            unreported=self._unreported,
            is_started=self.is_started,
            restart_reason=self._restart_reason,
            was_blocked=self._was_blocked,
        )

    async def answer(self) -> ModelTurn | SpentBudget:
        """Return the turn that has answered, or the budget if it leaves too little for the next attempt.

        Raise the error of the last model that was asked, or `BudgetExceeded` if the budget can't be raised.
        """
        while True:
            body = request_body(self._context, self.number, self._limits, self._state)
            if self._context.budget.is_limited and (spent := await self._limit(body)):
                return spent
            await self._begin_attempt()
            try:
                return await self._attempt(body)
            except OutputBlocked as error:
                self._begin_again(error)
            except AgentStreamError as error:
                failed = self._context.route
                if self._may_have_run_a_tool(error) or not await self._context.models.advance(error):
                    self._start()
                    raise
                self._fall_back(failed.model, error)
                await self._writer.commit()
                self._state.leave(failed, self._context.route)

    @property
    def model(self) -> str:
        """The model that answers, as far as is known: the server may have another one take over."""
        return self._routed_model or self._context.route.model

    @property
    def _routed_model(self) -> str | None:
        """The model that the server has chosen in place of the requested one, if it has."""
        route = self._context.route
        if self._turn is None or not route.may_be_routed:
            return None
        return self._turn.reports.model_in_place_of(route.wire_model)

    def restart(self, reason: RestartReason) -> None:
        """Begin the next attempt with a `step_restarted`: the step's output so far no longer counts."""
        self._restart_reason = reason

    async def passes(self, data: Any) -> bool:
        """Check the value of the answer. Return whether it passes. If not, the step has to be answered again.

        Raise `OutputBlocked` if it can't be, or `CheckFailed`.
        """
        try:
            if self._checked is not None:
                await self._checked.check_data(data)
        except OutputBlocked as error:
            self._begin_again(error)
            return False
        return True

    def _begin_again(self, error: OutputBlocked) -> None:
        """Restart the step once after its output was blocked, if the operator wants that. Else raise the error."""
        rules = self._limits.output_rules
        self._start()
        if rules is None or not rules.restarts or self._was_blocked or self._may_have_run_a_tool(error):
            raise error
        self._was_blocked = True
        self.restart("blocked")

    def _restart(self, reason: RestartReason, model: str | None = None) -> None:
        usage = None if self._unreported == NO_USAGE else self._unreported
        self._unreported = NO_USAGE
        self._writer.put(StepRestarted(step=self.number, reason=reason, model=model, usage=usage))

    async def _begin_attempt(self) -> None:
        if self._restart_reason is not None:
            self._restart(self._restart_reason)
            self._restart_reason = None
        elif self._context.models.is_last and not self._context.route.may_be_routed:
            self._start()
        else:
            return
        await self._writer.commit()

    async def _limit(self, body: dict[str, Any]) -> SpentBudget | None:
        """Limit the output of a request to what the budget leaves. Return the budget if that is too little."""
        budget, price = self._context.budget, self._price
        self._prompt_tokens = await budget.prompt_tokens(body)
        if spent := budget.spent(self._prompt_tokens, price):
            return spent
        if (limit := budget.output_limit(self._prompt_tokens, price)) is not None:
            body[OUTPUT_LIMIT] = limit
        return None

    async def _attempt(self, body: dict[str, Any]) -> ModelTurn:
        """Run one model turn.

        The deltas of one read are committed together. So a fast model costs fewer writes, and a slow one is shown
        token by token.
        """
        self._turn, self.calls = None, self._no_calls()
        if self._checked is not None:
            self._checked.begin()
        self.max_tokens = min((body[name] for name in ("max_tokens", OUTPUT_LIMIT) if name in body), default=None)
        bytes_before = self._writer.bytes_left
        is_cut = True
        try:
            async with model_turn(self._context.route, body, self._limits.deadlines) as turn:
                self._turn = turn
                async for deltas in turn:
                    self._start()
                    for delta in deltas:
                        self._put(delta)
                    await self._output.commit()
            is_cut = False
        finally:
            held_bytes = self._checked.held_bytes if self._checked else 0
            self._spend(bytes_before - self._writer.bytes_left + held_bytes, is_cut=is_cut)
        self._start()
        self._put_all(self.calls.complete())
        if self._checked is not None:
            await self._checked.finish([turn.reasoning, turn.reports.deferred_calls, self.calls.provider_states()])
        return turn

    def _start(self) -> None:
        if not self.is_started:
            self.is_started = True
            self._writer.put(StepStarted(step=self.number, model=self.model))

    def _spend(self, output_bytes: int, *, is_cut: bool) -> None:
        """Count the attempt's usage, even of an attempt that was dropped: it was paid for.

        The cost is that of the model that answered. If its price isn't known, the budget counts that of the requested
        one.
        """
        if self._turn is not None:
            price = self._context.route.price(self._context.request.service_tier, self._routed_model)
            cost = price.cost(self._turn.usage) if price else None
            usage = self._turn.usage.model_copy(update={"cost_usd": cost})
            self.usage += usage
            self._unreported += usage
            self._writer.spend(usage)
            if self._context.budget.is_limited:
                budget = self._context.budget
                budget.spend(self._turn.usage, price or self._price, self._prompt_tokens, output_bytes, is_cut=is_cut)

    @property
    def _price(self) -> Price | None:
        return self._context.route.price(self._context.request.service_tier)

    def _may_have_run_a_tool(self, error: AgentStreamError) -> bool:
        """Whether the upstream may have run a tool in this attempt. Another attempt could run it twice.

        If it calls MCP servers, only a refusal shows that it didn't: it may run tools before the first delta.
        """
        if self.calls.may_be_run_upstream:
            return True
        return bool(self._context.toolset.hosted) and (self._turn is not None or isinstance(error, NO_ANSWER))

    def _fall_back(self, failed: str, error: AgentStreamError) -> None:
        """Report that the next model has taken over."""
        model = self._context.route.model
        logger.warning("%s failed in step %d (%s), and %s takes over", failed, self.number, error.code, model)
        if self.is_started:
            self._restart("fallback", model)
        else:
            message = f"{failed} failed ({error.code}), so {model} answers."
            self._writer.put(RunWarning(code=WarningCode.MODEL_FALLBACK, message=message))

    def _no_calls(self) -> ToolCalls:
        return self._state.calls(self._context, self._limits)

    def _put(self, delta: Delta) -> None:
        match delta:
            case TextDelta(text):
                self._output.put(PartialOutput(content=text))
            case ThinkingDelta(text):
                self._output.put(Thinking(content=text))
            case CallDelta():
                self._put_all(self.calls.add_piece(delta))
            case HostedResult():
                self._put_all(self.calls.add_hosted_result(delta))
            case SourceDelta(url, title, snippet):
                self._output.cite(Source(url=url, title=title, snippet=snippet))

    def _put_all(self, events: Iterable[EventData]) -> None:
        for event in events:
            self._output.put(event)
