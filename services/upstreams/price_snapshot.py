"""Finds prices in the snapshot that genai-prices ships with. Nothing is ever fetched.

The library takes 0.4 s to import, so `price_list` imports this module when a server needs it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice

from services.upstreams.prices import Price, Rates, Tier

PROVIDERS = {
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "moonshot": "moonshotai",
    "xai": "x-ai",
}
"""The providers' names in the snapshot, where they differ from those in `services/upstreams/providers.py`."""

RATES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
}
"""The snapshot's names of `Rates`."""
UNREPORTED = "output_citation_mtok"
"""Perplexity bills these tokens without reporting their number."""


def snapshot_price(provider: str, model: str, service_tier: str | None = None) -> Price | None:
    """Return today's price of a provider's model at a service tier, None if the snapshot has none."""
    info = _model(PROVIDERS.get(provider, provider), model)
    if info is None or not (service_tier is None or _has_tier(info, service_tier)):
        return None
    context = None if service_tier is None else {"service_tier": service_tier}
    return _price(info.get_prices(datetime.now(UTC), context))


def _has_tier(info: ModelInfo, service_tier: str) -> bool:
    return any(variant.when == {"service_tier": service_tier} for variant in info.price_variants or ())


@lru_cache(maxsize=4096)
def _model(provider: str, model: str) -> ModelInfo | None:
    try:
        return get_snapshot().find_provider_model(model, None, provider, None)[1]
    except LookupError:
        return None


def _price(prices: ModelPrice) -> Price | None:
    billed = {name: value for name, value in vars(prices).items() if value is not None}
    if not {"input_mtok", "output_mtok"} <= billed.keys() or UNREPORTED in billed:
        return None
    starts = sorted({tier.start for value in billed.values() for tier in _tiers(value)})
    tiers = tuple(Tier(start, _rates(billed, start + 1)) for start in starts)
    return Price("snapshot", _rates(billed, 0), tiers, _rate(billed.get("requests_kcount", Decimal(0)), 0) / 1000)


def _rates(billed: dict[str, Any], input_tokens: int) -> Rates:
    return Rates(**{name: _rate(billed[unit], input_tokens) for name, unit in RATES.items() if unit in billed})


def _rate(value: Any, input_tokens: int) -> Decimal:
    """Return the rate at this many input tokens. A value is a number, or one with tiers."""
    rate: Decimal = getattr(value, "base", value)
    for tier in _tiers(value):
        if input_tokens > tier.start:
            rate = tier.price
    return rate


def _tiers(value: Any) -> Sequence[Any]:
    return getattr(value, "tiers", ())
