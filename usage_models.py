"""Counts the tokens of steps and runs, and what they cost."""

from decimal import Decimal
from typing import TypeVar

from closed_models import Closed, Dollars, Maybe


class Usage(Closed):
    """Token counts as the model server reports them, and their cost. For a run, they are the sums over its steps.

    `input_tokens` includes the tokens that were read from the provider's cache or written to it. `cost_usd` is in US
    dollars. It is left out if a part of it is unknown.
    """

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    reasoning_tokens: Maybe[int] = None
    cached_input_tokens: Maybe[int] = None
    cache_write_input_tokens: Maybe[int] = None
    cost_usd: Maybe[Dollars] = None

    def __add__(self, other: "Usage") -> "Usage":
        """Add two usages. A count that neither side reports stays unreported. A sum with an unknown cost has none."""
        counts = {name: _sum(getattr(self, name), getattr(other, name)) for name in TOKEN_COUNTS}
        unknown = self.cost_is_unknown or other.cost_is_unknown
        return Usage(**counts, cost_usd=None if unknown else _sum(self.cost_usd, other.cost_usd))

    @property
    def cost_is_unknown(self) -> bool:
        """Whether there are tokens whose cost isn't known."""
        return self.cost_usd is None and any(getattr(self, name) for name in TOKEN_COUNTS)


TOKEN_COUNTS = tuple(name for name in Usage.model_fields if name != "cost_usd")
NO_USAGE = Usage(input_tokens=None, output_tokens=None, total_tokens=None)

AmountT = TypeVar("AmountT", int, Decimal)


def _sum(a: AmountT | None, b: AmountT | None) -> AmountT | None:
    return b if a is None else a if b is None else a + b
