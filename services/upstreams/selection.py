"""Which upstream serves a model, with which key, and what that upstream is told.

In this order: DEDALUS_BASE_URL; Dedalus with DEDALUS_API_KEY, where a provider's own key rides along for its models;
the OpenAI-compatible endpoint of each provider whose key is set; else the embedded model. A provider's key goes to
Dedalus or to that provider, never to a base URL that somebody set. The script that calls tools is always there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from dedalus_labs import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    Omit,
    PermissionDeniedError,
)
from pydantic import SecretStr

from errors import ModelUnavailable, UpstreamAuth, UpstreamFailed
from services.completions.think_tags import ThinkTagModels
from services.upstreams.base_urls import address
from services.upstreams.embedded_model import EmbeddedModel
from services.upstreams.http_client import UpstreamClient
from services.upstreams.prepared_client import PreparedDedalus
from services.upstreams.providers import PLAIN, PROVIDERS, Provider, rules_of, with_model
from services.upstreams.scripted_model import MODEL_IDS as SCRIPTED_MODELS
from services.upstreams.scripted_model import scripted_client
from settings import Settings, WireRules

DEDALUS_URL = "https://api.dedaluslabs.ai/v1"
DEDALUS_MODEL = "openai/gpt-4.1"
MOST_KNOWN = 1000  # models of one upstream whose rules are remembered
SPARE_CONNECTIONS = 10  # beside those of the runs, for the lists of models

UNREACHED = "The model's server could not be reached: check DEDALUS_BASE_URL."
NO_LIST = "The model's server gave no list of models: check DEDALUS_BASE_URL, or set DEFAULT_MODEL."

Headers = Mapping[str, str | Omit]
SCRIPTS = "simulated/"  # begins the names of this service's scripts: no key makes another one exist
NO_DEDALUS_HEADERS: Headers = MappingProxyType(
    dict.fromkeys(("x-api-key", "X-Provider", "X-Provider-Key", "X-Provider-Model"), Omit())
)
"""Keeps what the SDK finds in its own environment variables from going anywhere."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server of chat completions. `prefix` stands before its models' names here, and not on its wire.

    `default_model` is named as it is here, and empty where the server has to be asked. `rules` say what it takes, and
    `by_hand` what of that the operator has set; `known` are the rules of single models. `key` is the setting that holds
    its key.
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
    key: str = "DEDALUS_API_KEY"


@dataclass(frozen=True, slots=True)
class Route:
    """One request's way: the upstream, the model's name here and on the wire, and the request's headers.

    `substituted` says that the embedded model answers in place of the model that was named. `think_tags` are the models
    that write their thinking into the text.
    """

    upstream: Upstream
    model: str
    wire_model: str
    headers: Headers
    substituted: bool = False
    think_tags: ThinkTagModels = field(default_factory=ThinkTagModels)

    @property
    def rules(self) -> WireRules:
        """What the server takes for this model, as far as that is known."""
        upstream = self.upstream
        if (known := upstream.known.get(self.wire_model)) is None:
            rules = upstream.rules if upstream.kind == "provider" else with_model(upstream.rules, self.model)
            by_hand = upstream.by_hand.model_dump(exclude_unset=True)
            self.learn(known := rules.model_copy(update=by_hand))
        return known

    @property
    def family(self) -> str:
        """Whose reasoning and signatures this model can take back: those of the same server and provider.

        The provider is what the model's name begins with, where that names one.
        """
        host = self.upstream.client.base_url.host if self.upstream.kind == "custom" else ""
        provider, slash, _ = self.wire_model.partition("/")
        return "/".join((self.upstream.name, host, provider if slash else ""))

    def learn(self, rules: WireRules) -> None:
        """Keep what the server takes for this model, such as what a refusal has taught."""
        known = self.upstream.known
        if len(known) >= MOST_KNOWN:
            known.pop(next(iter(known)))
        known[self.wire_model] = rules


class Upstreams:
    """The configured upstreams with their clients, which share one connection pool. Make it in a running loop."""

    def __init__(
        self,
        settings: Settings,
        local: EmbeddedModel,
        providers: Mapping[str, Provider] = PROVIDERS,
        dedalus: str = DEDALUS_URL,
    ) -> None:
        if unknown := settings.upstream_rules.keys() - {"custom", "dedalus", "local", *providers}:
            raise ValueError(f"UPSTREAM_RULES is for custom, dedalus, local or a provider, not for {min(unknown)}")
        self.local = local
        self._think_tags = ThinkTagModels(settings.think_tags, settings.think_tags_opened)
        self._keys = {name: key for name, known in providers.items() if (key := _first_key(settings, known))}
        self._http = UpstreamClient(settings.max_concurrent_runs + SPARE_CONNECTIONS)
        self.all: tuple[Upstream, ...]
        if settings.dedalus_base_url:
            self.all = (self._custom(settings, str(settings.dedalus_base_url)),)
        elif settings.dedalus_api_key or settings.dedalus_x_api_key:
            self.all = (self._dedalus(settings, dedalus),)
        elif self._keys:
            self.all = tuple(self._provider(name, providers[name], key) for name, key in self._keys.items())
        else:
            self.all = (self._embedded(),)
        self.all = tuple(replace(u, by_hand=settings.upstream_rules.get(u.name, PLAIN)) for u in self.all)
        self._script = scripted_client()
        script = PreparedDedalus(api_key="", base_url="http://script", http_client=self._script)
        self._scripted = Upstream("simulated", "scripted", script, NO_DEDALUS_HEADERS)
        self.default_model = settings.default_model or self.all[0].default_model or None
        self.substitutes = (
            settings.model_substitution and settings.on_loopback() and self.all[0].kind == "local" and not local.off
        )

    def route(self, model: str) -> Route:
        """The way to a model, or to the embedded one where that answers for all. Raise `ModelUnavailable`."""
        if model in SCRIPTED_MODELS:
            return Route(self._scripted, model, model, self._scripted.headers)
        if self.substitutes and model != self.local.model_id and not model.startswith(SCRIPTS):
            return replace(self.route(self.local.model_id), substituted=True)
        upstream = next((u for u in self.all if model.startswith(u.prefix) and model != u.prefix), None)
        if upstream is None or (upstream.kind == "local" and model != self.local.model_id):
            raise ModelUnavailable(self._what_to_set(model))
        headers = dict(upstream.headers)
        provider = model.partition("/")[0]
        if upstream.kind == "dedalus" and (key := self._keys.get(provider)):
            headers |= {"X-Provider": provider, "X-Provider-Key": key, "X-Provider-Model": Omit()}
        return Route(upstream, model, model.removeprefix(upstream.prefix), headers, think_tags=self._think_tags)

    async def ready(self, upstream: Upstream) -> None:
        """Wait until the upstream can be called. Raise `LocalModelUnavailable`."""
        if upstream.kind == "local":
            upstream.client.base_url = await self.local.url()

    def takes_tools(self, upstream: Upstream) -> bool:
        """Whether the upstream can be given tools, once it is ready."""
        return upstream.kind != "local" or self.local.takes_tools

    async def models(self, upstream: Upstream) -> Any:
        """What the upstream answers when asked for its models, as it is.

        Raise `UpstreamAuth` or `UpstreamFailed`, each with the setting to look at, `LocalModelUnavailable`, or an
        `httpx.HTTPError`.
        """
        await self.ready(upstream)
        try:
            return await upstream.client.get("/models", cast_to=object, options={"headers": upstream.headers})
        except (AuthenticationError, PermissionDeniedError) as error:
            raise UpstreamAuth(f"The model's server refused this service's key: check {upstream.key}.") from error
        except APIConnectionError as error:
            raise UpstreamFailed(UNREACHED) from error
        except APIError as error:
            raise UpstreamFailed(NO_LIST) from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._script.aclose()

    def _what_to_set(self, model: str) -> str:
        provider, slash, _ = model.partition("/")
        if known := PROVIDERS.get(provider):
            return f"No configured upstream serves {provider}'s models: set DEDALUS_API_KEY or {known.keys[0].upper()}."
        served = ", ".join(u.prefix + "…" if u.prefix else self.local.model_id for u in self.all)
        name = "this model" if slash else "a model named without its provider"
        return f"No configured upstream serves {name}: it serves {served}. Or set DEDALUS_API_KEY or DEDALUS_BASE_URL."

    def _custom(self, settings: Settings, url: str) -> Upstream:
        at, key = address(url), _text(settings.dedalus_api_key)
        client = self._client(at.url, key or "", at.query)
        headers = _own_keys(settings)
        if at.azure and key:
            headers |= {"api-key": key, "Authorization": Omit()}
        return Upstream(
            "custom",
            "custom",
            client,
            headers,
            default_model=at.deployment or "",
            hosts_mcp=settings.dedalus_base_url_hosts_mcp and not (at.provider or at.azure),
            rules=rules_of("azure" if at.azure else at.provider),
        )

    def _dedalus(self, settings: Settings, url: str) -> Upstream:
        client = PreparedDedalus(
            api_key=_text(settings.dedalus_api_key) or "",
            as_base_url=str(settings.dedalus_as_url) if settings.dedalus_as_url else None,
            dedalus_org_id=settings.dedalus_org_id,
            base_url=url,
            http_client=self._http,
        )
        byok = {
            "X-Provider": settings.dedalus_provider,
            "X-Provider-Key": _text(settings.dedalus_provider_key),
            "X-Provider-Model": settings.dedalus_provider_model,
        }
        headers = _own_keys(settings) | {name: value for name, value in byok.items() if value}
        return Upstream("dedalus", "dedalus", client, headers, DEDALUS_MODEL, hosts_mcp=True)

    def _provider(self, name: str, provider: Provider, key: str) -> Upstream:
        client, prefix = self._client(provider.url, key), f"{name}/"
        default = prefix + provider.default_model
        return Upstream(
            name,
            "provider",
            client,
            NO_DEDALUS_HEADERS,
            default,
            prefix,
            rules=rules_of(name),
            key=provider.keys[0].upper(),
        )

    def _embedded(self) -> Upstream:
        client = self._client("http://127.0.0.1", self.local.key)
        model, defaults = self.local.model_id, self.local.defaults
        return Upstream("local", "local", client, NO_DEDALUS_HEADERS, model, defaults=defaults)

    def _client(self, url: str, key: str, query: Mapping[str, str] | None = None) -> PreparedDedalus:
        return PreparedDedalus(api_key=key, base_url=url, default_query=query, http_client=self._http)


def _own_keys(settings: Settings) -> dict[str, str | Omit]:
    """The headers that carry the keys set for Dedalus or for what stands in its place, and nothing else."""
    headers = dict(NO_DEDALUS_HEADERS)
    if settings.dedalus_api_key is None:
        headers["Authorization"] = Omit()
    if key := _text(settings.dedalus_x_api_key):
        headers["x-api-key"] = key
    return headers


def _text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _first_key(settings: Settings, provider: Provider) -> str | None:
    return next((key for name in provider.keys if (key := _text(getattr(settings, name)))), None)
