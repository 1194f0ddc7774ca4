"""The prices of one model server's models: the operator's, then the server's own list, then the snapshot."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

from services.upstreams.prices import Price, Rates
from services.upstreams.providers import PROVIDERS, maker_of
from setting_objects import ModelPrice

SNAPSHOT = "services.upstreams.price_snapshot"
STANDARD_TIERS = (None, "auto", "default", "standard", "standard_only")


@dataclass(slots=True)
class PriceList:
    """Prices by the models' names on the wire.

    `by_hand` are the operator's, and win. `listed` are those of the server's own list, and change when it is read
    again. `provider` has the server's name in the snapshot. If `by_maker` is set, the server charges for `maker/model`
    what the maker does.
    """

    by_hand: Mapping[str, Price] = field(default_factory=dict)
    listed: dict[str, Price] = field(default_factory=dict)
    provider: str | None = None
    by_maker: bool = False

    def price(self, model: str, service_tier: str | None = None) -> Price | None:
        """Return the price of a model at a service tier, None if it is unknown.

        Only the snapshot has prices of other tiers than the standard one.
        """
        if service_tier in STANDARD_TIERS and (known := self.by_hand.get(model) or self.listed.get(model)):
            return known
        tier = None if service_tier in STANDARD_TIERS else service_tier
        if self.provider is not None:
            return _snapshot_price(self.provider, model, tier)
        maker, slash, name = model.partition("/")
        maker = maker_of(maker)
        return _snapshot_price(maker, name, tier) if self.by_maker and slash and maker in PROVIDERS else None

    async def load(self) -> None:
        """Import the snapshot if prices are looked up there, in a thread: that takes 0.4 s."""
        if self.by_maker or self.provider is not None:
            await asyncio.to_thread(import_module, SNAPSHOT)


def _snapshot_price(provider: str, model: str, service_tier: str | None) -> Price | None:
    price: Price | None = import_module(SNAPSHOT).snapshot_price(provider, model, service_tier)
    return price


def prices_by_hand(prices: Mapping[str, ModelPrice], prefix: str) -> dict[str, Price]:
    """Return the prices of MODEL_PRICES by the models' names on the wire, for the server with this prefix."""
    return {name.removeprefix(prefix): _by_hand(price) for name, price in prices.items() if name.startswith(prefix)}


def _by_hand(price: ModelPrice) -> Price:
    rates = Rates(
        price.input_per_million,
        price.output_per_million,
        price.cached_input_per_million,
        price.cache_write_per_million,
    )
    return Price("settings", rates)
