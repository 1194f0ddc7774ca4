"""Reads the prices in the lists of models that servers publish, and writes prices for our own list. Pure.

docs/upstreams.md lists the forms.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from operator import itemgetter
from typing import Any, NamedTuple

from catalog_models import LongInputPrices, Pricing
from services.upstreams.prices import MILLION, Price, Rates, Tier

Json = Mapping[str, Any]

HIGHEST_RATE = Decimal(1_000_000)  # US dollars per million tokens; more is a mistake
OVERRIDES, FROM_TOKENS = "overrides", "min_prompt_tokens"  # OpenRouter's prices for long prompts


class Form(NamedTuple):
    """A form of prices: the names of the rates in the order of `Rates`, and how many tokens each rate is for."""

    names: tuple[str, ...]
    tokens: int
    per_request: str = "request"


FORMS = (
    # https://docs.dedaluslabs.ai: the list of models
    Form(("input_per_million", "output_per_million", "cached_input_per_million"), MILLION),
    # https://openrouter.ai/docs/api-reference/list-available-models; other gateways have the same form.
    Form(("prompt", "completion", "input_cache_read", "input_cache_write", "internal_reasoning"), 1),
    # LiteLLM, where the list has prices: https://github.com/BerriAI/litellm/pull/42197
    Form(("input_cost_per_token", "output_cost_per_token"), 1),
)
TOGETHER = Form(("input", "output", "cached_input"), MILLION)
"""https://docs.together.ai/reference/models. Elsewhere, prices with these names may be per token."""


def listed_price(pricing: Any, server: str | None) -> Price | None:
    """Return the price that a server's list gives for a model, None if it gives none that can be read."""
    if not isinstance(pricing, Mapping):
        return None
    forms = (*FORMS, TOGETHER) if server == "together_ai" else FORMS
    form = next((form for form in forms if set(form.names[:2]) <= pricing.keys()), None)
    try:
        return form and _price(pricing, form)
    except (InvalidOperation, ValueError, TypeError, LookupError, AttributeError):
        return None


def _price(pricing: Json, form: Form) -> Price:
    overrides = sorted(pricing.get(OVERRIDES) or (), key=itemgetter(FROM_TOKENS))
    tiers = tuple(_tier(pricing, override, form) for override in overrides)
    per_request = _amount(pricing.get(form.per_request)) or Decimal(0)
    return Price("server", _rates(pricing, form), tiers, per_request)


def _tier(pricing: Json, override: Json, form: Form) -> Tier:
    """Return the rates from a number of prompt tokens on. Raise ValueError for an override on another condition."""
    if not override.keys() <= {FROM_TOKENS, *pricing}:
        raise ValueError("the price depends on something else")
    above = int(override[FROM_TOKENS]) - 1
    return Tier(above, _rates({**pricing, **override}, form))


def _rates(pricing: Json, form: Form) -> Rates:
    amounts = (_amount(pricing.get(name)) for name in form.names)
    input_rate, output_rate, *others = (amount and amount * MILLION / form.tokens for amount in amounts)
    if input_rate is None or output_rate is None or max(input_rate, output_rate) > HIGHEST_RATE:
        raise ValueError("no price")
    # OpenRouter writes 0 where a model has no such price, also for reasoning that it charges as output.
    return Rates(input_rate, output_rate, *(rate or None for rate in others))


def _amount(value: Any) -> Decimal | None:
    """Return a price. Raise ValueError for a number that is none, such as OpenRouter's -1 where the price varies."""
    if value is None:
        return None
    amount = Decimal(str(value))
    if not amount.is_finite() or amount < 0:
        raise ValueError("not a price")
    return amount


def pricing(price: Price) -> Pricing:
    """Return a price as our list of models shows it."""
    long_input = [LongInputPrices(above_input_tokens=above, **_per_million(rates)) for above, rates in price.tiers]
    per_request = float(price.per_request) or None
    return Pricing(
        source=price.source, per_request=per_request, long_input=long_input or None, **_per_million(price.rates)
    )


def _per_million(rates: Rates) -> dict[str, float]:
    known = {name: rate for name, rate in rates._asdict().items() if rate is not None}
    return {f"{name}_per_million": float(rate) for name, rate in known.items()}
