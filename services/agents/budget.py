"""The budget of a run: counts what its model turns spend, and limits the output of the next one."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import BaseModel

from errors import BudgetExceeded
from event_data import BudgetResponse
from json_codec.text import dumps
from models import AgentRequest
from parameter_models import MIN_THINKING
from services.agents.conversation import BYTES_PER_TOKEN, tokens
from services.runs.suspension import BUDGET, Outcomes, SpentBudget
from services.upstreams.prices import Price, billed_output
from usage_models import Usage

LEAST_OUTPUT = 16  # tokens that a turn has to have for its output: OpenAI's Responses API refuses less
AT_THE_BOUND = "The run's budget is spent, and MAX_COST_USD or MAX_TOTAL_TOKENS allows no larger one. Ask for less."
COUNTED = ("tools", "output_schema", "response_format")
"""The parts of a request that are a part of the prompt, beside the messages."""


class BudgetBounds(NamedTuple):
    """The operator's upper bounds on the totals of requests. None is no bound."""

    max_cost_usd: Decimal | None = None
    max_total_tokens: int | None = None


NO_BOUNDS = BudgetBounds()


class BudgetState(BaseModel):
    """The totals of a run's budget and what is spent. It is stored as JSON when the run waits.

    `spent_cost_usd` is None once the cost of a turn is unknown, which can only be without a `max_cost_usd`. `error` is
    how many tokens the last prompt had more than was estimated.
    """

    max_cost_usd: Decimal | None = None
    max_total_tokens: int | None = None
    spent_cost_usd: Decimal | None = Decimal(0)
    spent_tokens: int = 0
    error: int = 0


class Budget:
    """Counts the cost and tokens of a run, and limits its next model turn to the rest. Idle without a total."""

    def __init__(self, request: AgentRequest, bounds: BudgetBounds, state: BudgetState | None) -> None:
        """Begin with the request's totals, or continue from the state of a run that has waited."""
        self._bounds = bounds
        self._least = MIN_THINKING + 1 if isinstance(request.thinking_budget, int) else LEAST_OUTPUT
        self.state = state or BudgetState(max_cost_usd=request.max_cost_usd, max_total_tokens=request.max_total_tokens)

    @property
    def is_limited(self) -> bool:
        """Whether there is a total."""
        return not (self.state.max_cost_usd is None and self.state.max_total_tokens is None)

    async def prompt_tokens(self, body: Mapping[str, Any]) -> int:
        """Estimate the tokens of a request's prompt.

        A run's prompts have much in common, so the estimate is corrected by the error of the one before.
        """
        parts = [dumps(body[name]) for name in COUNTED if name in body]
        estimate = await tokens(body["messages"]) + sum(len(part) for part in parts) // BYTES_PER_TOKEN
        return max(0, estimate + self.state.error)

    def output_limit(self, prompt_tokens: int, price: Price | None) -> int | None:
        """Return how many output tokens the next turn may have. It is None without a limit, and may be negative."""
        return min(self._left(prompt_tokens, price).values(), default=None)

    def _left(self, prompt_tokens: int, price: Price | None) -> dict[str, int]:
        """Return how many output tokens each total leaves after a prompt."""
        state, left = self.state, {}
        if state.max_total_tokens is not None:
            left["max_total_tokens"] = state.max_total_tokens - state.spent_tokens - prompt_tokens
        if state.max_cost_usd is not None and price is not None:
            output = price.output_for(state.max_cost_usd - (state.spent_cost_usd or 0), prompt_tokens)
            if output is not None:
                left["max_cost_usd"] = output
        return left

    def spend(
        self, usage: Usage, price: Price | None, prompt_tokens: int, output_bytes: int, *, is_cut: bool = False
    ) -> None:
        """Count a turn. What its server has not counted is estimated.

        Some servers count the prompt with the first chunk, and the output at the end. So the output of an answer that
        was cut is at least the estimate.
        """
        if usage.input_tokens is not None:
            self.state.error += usage.input_tokens - prompt_tokens
        if is_cut or usage.output_tokens is None:
            usage = _estimated(usage, prompt_tokens, output_bytes)
        self.state.spent_tokens += (usage.input_tokens or 0) + billed_output(usage)
        cost = None if price is None else price.cost(usage)
        before = self.state.spent_cost_usd
        self.state.spent_cost_usd = None if cost is None or before is None else before + cost

    def spent(self, prompt_tokens: int, price: Price | None) -> SpentBudget | None:
        """Return the budget if it leaves too little for a turn with this prompt.

        Raise `BudgetExceeded` if it does and the operator's bounds allow no larger one.
        """
        left = self._left(prompt_tokens, price)
        spent = [name for name, tokens in left.items() if tokens < self._least]
        if any(map(self._is_at_bound, spent)):
            raise BudgetExceeded(AT_THE_BOUND)
        return SpentBudget(**self.state.model_dump(exclude={"error"})) if spent else None

    def _is_at_bound(self, name: str) -> bool:
        bound = getattr(self._bounds, name)
        return bound is not None and max(getattr(self.state, name), self._spent_of(name)) >= bound

    def _spent_of(self, name: str) -> Decimal | int:
        return self.state.spent_tokens if name == "max_total_tokens" else self.state.spent_cost_usd or 0

    def decide(self, outcomes: Outcomes) -> None:
        """Take the new totals of the decision that the run has waited for. Raise `BudgetExceeded` for a refusal."""
        decision = outcomes[BUDGET]
        if not isinstance(decision, BudgetResponse) or not decision.approved:
            raise BudgetExceeded
        if decision.max_cost_usd is not None:
            self.state.max_cost_usd = decision.max_cost_usd
        if decision.max_total_tokens is not None:
            self.state.max_total_tokens = decision.max_total_tokens


def _estimated(usage: Usage, prompt_tokens: int, output_bytes: int) -> Usage:
    """Return the usage with at least the estimated output, and with the estimated prompt if it has none."""
    tokens_in = prompt_tokens if usage.input_tokens is None else usage.input_tokens
    tokens_out = max(billed_output(usage), output_bytes // BYTES_PER_TOKEN)
    counts = {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    return usage.model_copy(update=counts)
