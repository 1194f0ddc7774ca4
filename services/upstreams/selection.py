"""Selects the upstreams at start, and finds the route to a model.

In this order: DEDALUS_BASE_URL; Dedalus with DEDALUS_API_KEY, to which a provider's own key is sent along for its
models; the OpenAI-compatible endpoint of each provider whose key is set; the embedded model. A provider's key is
sent to Dedalus or to that provider, never to a configured base URL. The scripts of this process are always available.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

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
from services.upstreams.price_list import PriceList, prices_by_hand
from services.upstreams.prices import FREE
from services.upstreams.providers import PLAIN, PROVIDERS, Provider, rules_of
from services.upstreams.refusals import UNREACHED
from services.upstreams.scripted_model import MODEL_IDS as SCRIPTED_MODELS
from services.upstreams.scripted_model import scripted_client
from services.upstreams.upstream import NO_DEDALUS_HEADERS, Route, Upstream
from setting_names import did_you_mean
from settings import Settings

DEDALUS_URL = "https://api.dedaluslabs.ai/v1"
DEDALUS_MODEL = "openai/gpt-4.1"
SPARE_CONNECTIONS = 10  # for lists of models, beside one connection for each run

NO_LIST = "The model server returned no list of models. Check DEDALUS_BASE_URL, or set DEFAULT_MODEL."

SCRIPTS = "simulated/"  # begins the names of this service's scripts, which no substitute answers for


class Upstreams:
    """The configured upstreams with their clients, which share one connection pool. Make it in a running loop."""

    def __init__(
        self,
        settings: Settings,
        local: EmbeddedModel,
        providers: Mapping[str, Provider] = PROVIDERS,
        dedalus: str = DEDALUS_URL,
    ) -> None:
        names = {"custom", "dedalus", "local", *providers}
        if unknown := settings.upstream_rules.keys() - names:
            name = min(unknown)
            suggestion = did_you_mean(name, names)
            raise ValueError(f"UPSTREAM_RULES is for custom, dedalus, local or a provider, not for {name}{suggestion}")
        self.local = local
        self._think_tags = ThinkTagModels(settings.think_tags, settings.think_tags_opened)
        self._keys = {name: key for name, known in providers.items() if (key := _first_key(settings, known))}
        self._http = UpstreamClient(settings.max_concurrent_runs + SPARE_CONNECTIONS)
        selected = self._selected(settings, providers, dedalus)
        self.all = tuple(_with_settings(each, settings) for each in selected)
        self._script = scripted_client()
        script = PreparedDedalus(api_key="", base_url="http://script", http_client=self._script)
        self._scripted = Upstream("simulated", "scripted", script, NO_DEDALUS_HEADERS)
        self.default_model = settings.default_model or self.all[0].default_model or None
        self.substitutes = (
            settings.model_substitution and settings.on_loopback() and self.all[0].kind == "local" and not local.off
        )
        self._check_fallbacks(settings.fallback_models)

    def route(self, model: str) -> Route:
        """Find the route to a model, or to the embedded one if that substitutes. Raise `ModelUnavailable`."""
        if model in SCRIPTED_MODELS:
            return Route(self._scripted, model, model, self._scripted.headers)
        if self.substitutes and model != self.local.model_id and not model.startswith(SCRIPTS):
            return replace(self.route(self.local.model_id), substituted=True)
        upstream = next((each for each in self.all if model.startswith(each.prefix) and model != each.prefix), None)
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
        """Whether the upstream accepts tools. For the embedded model this is known once it is ready."""
        return upstream.kind != "local" or self.local.takes_tools

    async def models(self, upstream: Upstream) -> Any:
        """Ask the upstream for its models, and return its answer unchanged.

        Raise `UpstreamAuth` or `UpstreamFailed`, each with the setting to check, `LocalModelUnavailable`, an
        `httpx.HTTPError`, or ValueError for a body that is not JSON.
        """
        await self.ready(upstream)
        try:
            return json.loads(await upstream.client.list_models(upstream.headers))
        except (AuthenticationError, PermissionDeniedError) as error:
            raise UpstreamAuth(f"The model server refused this service's key. Check {upstream.key}.") from error
        except APIConnectionError as error:
            raise UpstreamFailed(UNREACHED) from error
        except APIError as error:
            raise UpstreamFailed(NO_LIST) from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._script.aclose()

    def _check_fallbacks(self, fallback_models: Mapping[str, Sequence[str]]) -> None:
        """Raise `ValueError` if FALLBACK_MODELS names a model that no upstream serves."""
        for model in sorted({*fallback_models, *chain.from_iterable(fallback_models.values())}):
            try:
                self.route(model)
            except ModelUnavailable as refused:
                raise ValueError(f"FALLBACK_MODELS names {model}. {refused.message}") from None

    def _what_to_set(self, model: str) -> str:
        """The message for a model without an upstream: the settings that would make it available."""
        provider, slash, _ = model.partition("/")
        if known := PROVIDERS.get(provider):
            key = known.keys[0].upper()
            return f"No configured model server offers {provider}'s models. Set DEDALUS_API_KEY or {key}."
        available = ", ".join(each.prefix + "…" if each.prefix else self.local.model_id for each in self.all)
        name = "this model" if slash else "models named without a provider"
        return (
            f"No configured model server offers {name}. Available: {available}. "
            "For others, set DEDALUS_API_KEY or DEDALUS_BASE_URL."
        )

    def _selected(
        self, settings: Settings, providers: Mapping[str, Provider], dedalus_url: str
    ) -> tuple[Upstream, ...]:
        if settings.dedalus_base_url:
            return (self._custom(settings, str(settings.dedalus_base_url)),)
        if settings.dedalus_api_key or settings.dedalus_x_api_key:
            return (self._dedalus(settings, dedalus_url),)
        if self._keys:
            return tuple(self._provider(name, providers[name], key) for name, key in self._keys.items())
        return (self._embedded(),)

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
            prices=PriceList(provider=None if at.azure else at.provider),
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
        prices = PriceList(by_maker=True)
        return Upstream("dedalus", "dedalus", client, headers, DEDALUS_MODEL, hosts_mcp=True, prices=prices)

    def _provider(self, name: str, provider: Provider, key: str) -> Upstream:
        prefix = f"{name}/"
        return Upstream(
            name,
            "provider",
            self._client(provider.url, key),
            NO_DEDALUS_HEADERS,
            default_model=prefix + provider.default_model,
            prefix=prefix,
            rules=rules_of(name),
            prices=PriceList(provider=name),
            key=provider.keys[0].upper(),
        )

    def _embedded(self) -> Upstream:
        client = self._client("http://127.0.0.1", self.local.key)  # `ready` sets the port, once there is one
        model, defaults = self.local.model_id, self.local.defaults
        prices = PriceList(listed={model: FREE})
        return Upstream("local", "local", client, NO_DEDALUS_HEADERS, model, defaults=defaults, prices=prices)

    def _client(self, url: str, key: str, query: Mapping[str, str] | None = None) -> PreparedDedalus:
        return PreparedDedalus(api_key=key, base_url=url, default_query=query, http_client=self._http)


def _with_settings(upstream: Upstream, settings: Settings) -> Upstream:
    """Return the upstream with the rules, prices, parameters and checks that the operator has set for it."""
    prices = replace(upstream.prices, by_hand=prices_by_hand(settings.model_prices, upstream.prefix))
    defaults = dict(upstream.defaults)
    if settings.prompt_cache_retention and upstream.kind != "local":
        defaults["prompt_cache_retention"] = settings.prompt_cache_retention
    by_hand = settings.upstream_rules.get(upstream.name, PLAIN)
    is_quoted = settings.check_output is None
    return replace(upstream, by_hand=by_hand, prices=prices, defaults=defaults, is_quoted=is_quoted)


def _own_keys(settings: Settings) -> dict[str, str | Omit]:
    """The headers with the keys that are set for Dedalus or for the server in its place, and with no other key."""
    headers: dict[str, str | Omit] = dict(NO_DEDALUS_HEADERS)
    if settings.dedalus_api_key is None:
        headers["Authorization"] = Omit()
    if key := _text(settings.dedalus_x_api_key):
        headers["x-api-key"] = key
    return headers


def _text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _first_key(settings: Settings, provider: Provider) -> str | None:
    return next((key for name in provider.keys if (key := _text(getattr(settings, name)))), None)
