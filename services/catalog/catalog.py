"""Lists the models of the configured upstreams, and MCP servers. Neither list restricts what a request may name."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from catalog_models import ListSource, McpServerInfo, McpServerList, ModelInfo, ModelList
from errors import AgentStreamError, ModelUnavailable, UpstreamFailed
from services.catalog.builtin import MCP_SERVERS, MODELS
from services.catalog.cached import Cached
from services.catalog.list_prices import pricing
from services.catalog.model_lists import UNREADABLE, ListedModel, clean_text, list_entries, read_model
from services.mcp.resolution import requested_as
from services.outbound.client import GuardedClient
from services.upstreams.embedded_model import EmbeddedModel
from services.upstreams.selection import NO_LIST, Upstreams
from services.upstreams.upstream import Upstream
from setting_objects import McpServer

logger = logging.getLogger(__name__)

WORST_LAST: tuple[ListSource, ...] = ("upstream", "stale", "builtin")
NO_CHAT_MODEL = "Name a model in the request, or set DEFAULT_MODEL: the upstream lists none that chats."

T = TypeVar("T")


class Catalog:
    """The two lists. Create it in a running event loop.

    Without a `marketplace_url`, the list of MCP servers is the configured and the built-in ones.
    """

    def __init__(
        self, upstreams: Upstreams, ttl_s: float, marketplace_url: str, mcp_servers: Mapping[str, McpServer]
    ) -> None:
        self._upstreams = upstreams
        self._marketplace_url = marketplace_url
        self._configured = [
            McpServerInfo(
                server=requested_as(name, server), name=name, description=server.description or None, configured=True
            )
            for name, server in mcp_servers.items()
        ]
        self._builtin_servers = [McpServerInfo(**server, configured=False) for server in MCP_SERVERS]
        self._servers = Cached(self._fetch_servers, self._builtin_servers, ttl_s)
        self._models = [
            Cached(partial(self._fetch_models, upstream), _builtin_models(upstream, upstreams.local), ttl_s)
            for upstream in upstreams.all
        ]

    async def models(self) -> ModelList:
        """Return the models of all configured upstreams."""
        lists = await asyncio.gather(*(cached.get() for cached in self._models))
        failures = (cached.failure for cached in self._models if cached.failure)
        return ModelList(
            source=max((source for _, source in lists), key=WORST_LAST.index),
            default_model=self.default_model(),
            problem=next(map(_problem, failures), None),
            models=[
                _with_price(upstream, model)
                for upstream, (models, _) in zip(self._upstreams.all, lists, strict=True)
                for model in models
            ],
        )

    def default_model(self) -> str | None:
        """Return the model of a request that names none, or None while the list that decides it isn't known yet."""
        if self._upstreams.default_model:
            return self._upstreams.default_model
        lists = [cached.refresh_if_due() for cached in self._models]
        return next((model.info.id for models in lists for model in models if model.chats), None)

    async def first_model(self) -> str:
        """Return the first listed model that chats, for a request that names none.

        Raise the upstream's error if its list could not be fetched, or `ModelUnavailable` if no listed model chats.
        """
        for cached in self._models:
            models, source = await cached.get()
            if source == "builtin" and not models:
                raise cached.failure if isinstance(cached.failure, AgentStreamError) else UpstreamFailed(NO_LIST)
            if chatting := next((model for model in models if model.chats), None):
                return chatting.info.id
        raise ModelUnavailable(NO_CHAT_MODEL)

    async def context_tokens(self, model: str) -> int | None:
        """Return the size of a model's context in tokens, or None if its server doesn't report it."""
        lists = await asyncio.gather(*(cached.get() for cached in self._models))
        known = (listed.info for models, _ in lists for listed in models)
        return next((info.context_tokens for info in known if info.id == model), None)

    def keep_prices(self, upstream: Upstream) -> None:
        """Read the prices in the list of a gateway, if that is due, in the background. Providers' lists have none."""
        for each, models in zip(self._upstreams.all, self._models, strict=True):
            if each is upstream and each.kind in {"custom", "dedalus"}:
                models.keep_fresh()

    async def mcp_servers(self) -> McpServerList:
        """Return the configured MCP servers and those of the public marketplace."""
        servers, source = self._builtin_servers, WORST_LAST[-1]
        if self._marketplace_url:
            servers, source = await self._servers.get()
        return McpServerList(source=source, servers=[*self._configured, *servers])

    async def aclose(self) -> None:
        """Cancel fetches under way."""
        await self._servers.aclose()
        for models in self._models:
            await models.aclose()

    async def _fetch_models(self, upstream: Upstream) -> list[ListedModel]:
        provider = upstream.name if upstream.kind in {"provider", "local"} else None
        try:
            entries = list_entries(await self._upstreams.models(upstream))
            models = _readable(entries, partial(read_model, prefix=upstream.prefix, provider=provider))
        except UNREADABLE as error:
            raise UpstreamFailed(NO_LIST) from error
        await _note_prices(upstream, models)
        return models

    async def _fetch_servers(self) -> list[McpServerInfo]:
        """Fetch the marketplace's list. Its two addresses redirect to each other, so redirects are followed."""
        async with GuardedClient(None, trust_env=True) as client:
            response = await client.get(self._marketplace_url, follow_redirects=True)
        return _readable(response.raise_for_status().json()["repositories"], _marketplace_server)


def _readable(entries: list[Any], read: Callable[[Any], T | None]) -> list[T]:
    """Return what `read` makes of the entries, without its Nones and without the entries that it can't read.

    Raise ValueError if there are entries and none can be read.
    """
    readable: list[T | None] = []
    for entry in entries:
        try:
            readable.append(read(entry))
        except UNREADABLE:
            continue
    if unreadable := len(entries) - len(readable):
        logger.warning("%d of %d entries of a list can't be read", unreadable, len(entries))
        if not readable:
            raise ValueError("no entry can be read")
    return [entry for entry in readable if entry is not None]


def _builtin_models(upstream: Upstream, local: EmbeddedModel) -> list[ListedModel]:
    """Return the models that an upstream is known to serve: at least its default model."""
    match upstream.kind:
        case "local":
            return [_embedded(local)] if not local.off else []
        case "custom":
            known = [upstream.default_model] if upstream.default_model else []
        case _:
            known = [model for model in MODELS if model.startswith(upstream.prefix)] or [upstream.default_model]
    return [ListedModel(ModelInfo(id=model, provider=model.partition("/")[0])) for model in known]


async def _note_prices(upstream: Upstream, models: Iterable[ListedModel]) -> None:
    """Store the prices of a server's list, and look up the others once: each can take some milliseconds."""
    for model in models:
        name = model.info.id.removeprefix(upstream.prefix)
        if model.price is not None:
            upstream.prices.listed[name] = model.price
        elif upstream.prices.price(name) is None:
            await asyncio.sleep(0)


def _with_price(upstream: Upstream, model: ListedModel) -> ModelInfo:
    price = upstream.prices.price(model.info.id.removeprefix(upstream.prefix))
    return model.info.model_copy(update={"pricing": price and pricing(price)})


def _problem(failure: Exception) -> str:
    return failure.message if isinstance(failure, AgentStreamError) else UpstreamFailed.default


def _embedded(local: EmbeddedModel) -> ListedModel:
    info = ModelInfo(id=local.model_id, provider="local", name=local.name, context_tokens=local.context_tokens)
    return ListedModel(info)


def _marketplace_server(entry: Mapping[str, Any]) -> McpServerInfo | None:
    """Read an entry of the marketplace. Return None for a server that isn't public."""
    if entry.get("visibility", "public") != "public":
        return None
    auth = (entry.get("tags") or {}).get("auth") or {}
    return McpServerInfo(
        configured=False,
        server=entry["slug"],
        name=clean_text(entry.get("title") or entry["slug"]),
        description=clean_text(entry.get("description")),
        tool_count=entry.get("tool_count"),
        needs_authorization=not auth["none"] if isinstance(auth.get("none"), bool) else None,
    )
