"""The vocabulary of upstreams: a model server, and the route of one request to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from dedalus_labs import Omit

from services.completions.think_tags import ThinkTagModels
from services.upstreams.prepared_client import PreparedDedalus
from services.upstreams.price_list import PriceList
from services.upstreams.prices import Price
from services.upstreams.providers import PLAIN, with_model
from services.upstreams.wire_rules import left_out
from setting_objects import WireRules

MAX_LEARNED_MODELS = 1000  # models of one upstream whose rules are remembered

Headers = Mapping[str, str | Omit]
NO_DEDALUS_HEADERS: Headers = MappingProxyType(
    dict.fromkeys(("x-api-key", "X-Provider", "X-Provider-Key", "X-Provider-Model"), Omit())
)
"""Keeps the keys that the SDK finds in its own environment variables from being sent anywhere."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server of chat completions.

    `prefix` begins the names of its models in this service; it is left out on the wire. `default_model` includes the
    prefix, and is empty if the server has to be asked for its models. `rules` describe the requests that the server
    accepts; those in `by_hand` were set by the operator and win; `known` has the rules of single models. `prices` are
    what its models cost. `key` names the setting that holds the server's key, for error messages. `is_quoted` says
    whether the log may quote what the server sends; an answer that has to pass a check may be in it.
    """

    name: str
    kind: Literal["custom", "dedalus", "provider", "local", "scripted"]
    client: PreparedDedalus
    headers: Headers = field(default_factory=dict)
    default_model: str = ""
    prefix: str = ""
    hosts_mcp: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    rules: WireRules = PLAIN
    by_hand: WireRules = PLAIN
    known: dict[str, WireRules] = field(default_factory=dict)
    prices: PriceList = field(default_factory=PriceList)
    key: str = "DEDALUS_API_KEY"
    is_quoted: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """The upstream of one request, the model's name in this service and on the wire, and the request's headers.

    `substituted` is set if the embedded model answers in place of the requested one. `think_tags` are the models that
    write their thinking into the text.
    """

    upstream: Upstream
    model: str
    wire_model: str
    headers: Headers
    substituted: bool = False
    think_tags: ThinkTagModels = field(default_factory=ThinkTagModels)

    @property
    def rules(self) -> WireRules:
        """The requests that the server accepts for this model, as far as that is known."""
        upstream = self.upstream
        if (known := upstream.known.get(self.wire_model)) is None:
            rules = upstream.rules if upstream.kind == "provider" else with_model(upstream.rules, self.model)
            if not upstream.hosts_mcp:
                rules = rules.model_copy(update={"left_out": (*rules.left_out, "max_turns")})
            by_hand = upstream.by_hand.model_dump(exclude_unset=True)
            self.learn(known := rules.model_copy(update=by_hand))
        return known

    def price(self, service_tier: str | None, routed_model: str | None = None) -> Price | None:
        """Return the price of the model at a requested service tier, None if it is unknown.

        `routed_model` is the one that the server has chosen in its place.
        """
        sent = None if left_out("service_tier", service_tier, self.rules) else service_tier
        return self.upstream.prices.price(routed_model or self.wire_model, sent)

    @property
    def family(self) -> str:
        """Models of one family accept each other's reasoning and signatures: those of one server and provider.

        The provider is the beginning of the model's name, as in `provider/model`.
        """
        host = self.upstream.client.base_url.host if self.upstream.kind == "custom" else ""
        provider, slash, _ = self.wire_model.partition("/")
        return "/".join((self.upstream.name, host, provider if slash else ""))

    @property
    def may_be_routed(self) -> bool:
        """Whether the server may let another model answer: Dedalus, and gateways, whose models have a provider."""
        return self.upstream.kind in ("dedalus", "custom") and "/" in self.wire_model

    def learn(self, rules: WireRules) -> None:
        """Remember the rules for this model, such as those that a refusal has corrected."""
        known = self.upstream.known
        if len(known) >= MAX_LEARNED_MODELS:
            known.pop(next(iter(known)))
        known[self.wire_model] = rules
