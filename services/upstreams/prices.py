"""Prices of models, and the cost of a request. Amounts are exact decimals in US dollars. Pure."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from usage_models import Usage

PriceSource = Literal["settings", "server", "snapshot"]

MILLION = 1_000_000
SMALLEST_AMOUNT = Decimal("1e-12")
"""A request's cost is rounded to this, half to even. Prices with up to six decimals per million need no rounding."""


class Rates(NamedTuple):
    """US dollars per million tokens. Without a rate of their own, cached and written tokens cost as much as others."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None


class Tier(NamedTuple):
    """The rates of all tokens of a request whose input exceeds `above_input_tokens`."""

    above_input_tokens: int
    rates: Rates


class Price(NamedTuple):
    """The price of a model, and where it is from. The tiers are sorted by their thresholds.

    `per_request` is in US dollars.
    """

    source: PriceSource
    rates: Rates
    tiers: Sequence[Tier] = ()
    per_request: Decimal = Decimal(0)

    def rates_for(self, input_tokens: int) -> Rates:
        """Return the rates of a request with this many input tokens, cached ones included."""
        passed = (tier.rates for tier in reversed(self.tiers) if input_tokens > tier.above_input_tokens)
        return next(passed, self.rates)

    def cost(self, usage: Usage) -> Decimal | None:
        """Return the cost of one request in US dollars, or None if its server has counted no tokens."""
        if usage.input_tokens is None and usage.output_tokens is None:
            return None
        input_tokens = usage.input_tokens or 0
        rates = self.rates_for(input_tokens)
        millionths = _input_millionths(usage, rates) + _output_millionths(usage, rates)
        return (millionths / MILLION + self.per_request).quantize(SMALLEST_AMOUNT)

    def output_for(self, dollars: Decimal, input_tokens: int) -> int | None:
        """Return how many output tokens this amount pays for after the input, at the highest rates.

        The result is negative if it doesn't pay for the input, and None if output costs nothing.
        """
        rates = self.rates_for(input_tokens)
        input_rate = max(rates.input, rates.cache_write or 0)
        output_rate = max(rates.output, rates.reasoning or 0)
        left = (dollars - self.per_request) * MILLION - input_tokens * input_rate
        if left < 0:
            return -1
        return int(left // output_rate) if output_rate else None


FREE = Price("settings", Rates(Decimal(0), Decimal(0)))


def _input_millionths(usage: Usage, rates: Rates) -> Decimal:
    total = usage.input_tokens or 0
    cached = min(usage.cached_input_tokens or 0, total)
    written = min(usage.cache_write_input_tokens or 0, total - cached)
    cached_rate = rates.input if rates.cached_input is None else rates.cached_input
    written_rate = rates.input if rates.cache_write is None else rates.cache_write
    return (total - cached - written) * rates.input + cached * cached_rate + written * written_rate


def _output_millionths(usage: Usage, rates: Rates) -> Decimal:
    total = billed_output(usage)
    reasoning = min(usage.reasoning_tokens or 0, total)
    reasoning_rate = rates.output if rates.reasoning is None else rates.reasoning
    return (total - reasoning) * rates.output + reasoning * reasoning_rate


def billed_output(usage: Usage) -> int:
    """Return the output tokens with the reasoning.

    xAI and Gemini count reasoning in the total, but not in the output:
    https://docs.x.ai/docs/guides/reasoning, https://ai.google.dev/gemini-api/docs/thinking.
    """
    output = usage.output_tokens or 0
    if usage.total_tokens is None:
        return output
    return max(output, usage.total_tokens - (usage.input_tokens or 0))
