"""What is on offer: the models of the configured upstreams, and MCP servers. Neither list restricts requests."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any, Generic, Literal, TypeVar

import httpx
from pydantic import Field

from errors import AgentStreamError, ModelUnavailable, UpstreamFailed
from events import Closed, Maybe
from services.catalog.builtin import MCP_SERVERS, MODELS
from services.catalog.model_lists import Listed, ModelInfo, entries, listed, text
from services.mcp.resolution import requested_as
from services.upstreams.embedded_model import EmbeddedModel
from services.upstreams.selection import NO_LIST, Upstream, Upstreams
from settings import McpServer
from tool_models import SERVER_PATTERN

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 5.0
RETRY_S = 30.0  # how long a failed refresh is not tried again

ListSource = Literal["upstream", "stale", "builtin"]
WORST_LAST: tuple[ListSource, ...] = ("upstream", "stale", "builtin")
ODD = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
)  # what reading something of an unknown shape can raise
T = TypeVar("T")


class ModelList(Closed):
    """The models. `source` says whether the list is the upstream's, an older one of its, or built in.

    Of several upstreams' lists, it is the worst of them. `problem` says why a list could not be fetched, and which
    setting to check.
    """

    source: ListSource
    default_model: Maybe[str] = None
    problem: Maybe[str] = None
    models: list[ModelInfo]


class McpServerInfo(Closed):
    """An MCP server. `server` is what a request puts into `mcp_servers`."""

    server: Annotated[str, Field(pattern=SERVER_PATTERN)]
    name: str
    description: Maybe[str] = None
    tool_count: Maybe[int] = None
    needs_authorization: Maybe[bool] = None
    configured: bool


class McpServerList(Closed):
    """The MCP servers: the operator's own first. `source` is where the others come from."""

    source: ListSource
    servers: list[McpServerInfo]


class Cached(Generic[T]):
    """A list that is fetched once per `ttl_s`, in the background once there is one, and kept when that fails."""

    def __init__(self, fetch: Callable[[], Awaitable[list[T]]], builtin: list[T], ttl_s: float) -> None:
        self._fetch = fetch
        self._list = builtin
        self._source: ListSource = "builtin"
        self._ttl_s = ttl_s
        self.fault: Exception | None = None
        self._due = 0.0
        self._tried = False
        self._refreshing: asyncio.Task[None] | None = None

    async def get(self) -> tuple[list[T], ListSource]:
        """The newest list there is. Waits for a fetch only the first time, and where there is nothing to answer."""
        self.begin()
        if self._refreshing is not None and not (self._tried and self._list):
            await asyncio.shield(self._refreshing)
        return self._list, self._source

    def begin(self) -> list[T]:
        """Start a fetch in the background if one is due. Return the list as it is now."""
        if self._refreshing is None and time.monotonic() >= self._due:
            self._refreshing = asyncio.create_task(self._refresh(), name="catalogue")
        return self._list

    async def _refresh(self) -> None:
        wait = self._ttl_s
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                self._list = await self._fetch()
            self._source, self.fault = "upstream", None
        except (AgentStreamError, httpx.HTTPError, httpx.InvalidURL, TimeoutError, *ODD) as error:
            logger.warning("a list could not be fetched: %s (%.200r)", error, error.__cause__ or error)
            self.fault = error
            self._source = "builtin" if self._source == "builtin" else "stale"
            wait = min(wait, RETRY_S)
        finally:
            self._due = time.monotonic() + wait
            self._tried = True
            self._refreshing = None

    async def aclose(self) -> None:
        """End a fetch under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait({self._refreshing})


class Catalog:
    """The two lists. Make it in a running loop."""

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
        """The models of all configured upstreams."""
        answers = await asyncio.gather(*(models.get() for models in self._models))
        return ModelList(
            source=max((source for _, source in answers), key=WORST_LAST.index),
            default_model=self.default_model(),
            problem=next((_problem(cached.fault) for cached in self._models if cached.fault), None),
            models=[model.info for models, _ in answers for model in models],
        )

    def default_model(self) -> str | None:
        """What a request gets that names no model; None while the upstream's list is not known that decides it."""
        if self._upstreams.default_model:
            return self._upstreams.default_model
        lists = [cached.begin() for cached in self._models]
        return next((model.info.id for models in lists for model in models if model.chats), None)

    async def first_model(self) -> str:
        """The first model of the list that chats: what a request gets that names none.

        Raise what the upstream failed with when it was asked, or `ModelUnavailable` where it lists none.
        """
        for cached in self._models:
            models, source = await cached.get()
            if source == "builtin" and not models:
                raise cached.fault if isinstance(cached.fault, AgentStreamError) else UpstreamFailed(NO_LIST)
            if chatting := next((model for model in models if model.chats), None):
                return chatting.info.id
        raise ModelUnavailable("Name a model in the request, or set DEFAULT_MODEL: the upstream lists none that chats.")

    async def context_tokens(self, model: str) -> int | None:
        """How much a model reads, in tokens; None where its server doesn't tell."""
        listed = await self.models()
        return next((known.context_tokens for known in listed.models if known.id == model), None)

    async def mcp_servers(self) -> McpServerList:
        """The operator's servers and those of the public marketplace."""
        servers, source = self._builtin_servers, WORST_LAST[-1]
        if self._marketplace_url:
            servers, source = await self._servers.get()
        return McpServerList(source=source, servers=[*self._configured, *servers])

    async def aclose(self) -> None:
        """End fetches under way."""
        await self._servers.aclose()
        for models in self._models:
            await models.aclose()

    async def _fetch_models(self, upstream: Upstream) -> list[Listed]:
        provider = upstream.name if upstream.kind in {"provider", "local"} else None
        try:
            answer = await self._upstreams.models(upstream)
            return _readable(entries(answer), partial(listed, prefix=upstream.prefix, provider=provider))
        except ODD as error:
            raise UpstreamFailed(NO_LIST) from error

    async def _fetch_servers(self) -> list[McpServerInfo]:
        async with httpx.AsyncClient(follow_redirects=True, max_redirects=3, timeout=FETCH_TIMEOUT_S) as client:
            answer = (await client.get(self._marketplace_url)).raise_for_status().json()
        return _readable(answer["repositories"], _server)


def _readable(entries: list[Any], read: Callable[[Any], T | None]) -> list[T]:
    """The entries as `read` gives them, without those for which it gives None, and those of a shape that it can't read.

    Raise ValueError where there are entries and not one can be read.
    """
    readable, odd = [], 0
    for entry in entries:
        try:
            readable.append(read(entry))
        except ODD:
            odd += 1
    if odd:
        logger.warning("%d of %d entries of a list can't be read", odd, len(entries))
    if odd and not readable:
        raise ValueError("no entry can be read")
    return [entry for entry in readable if entry is not None]


def _builtin_models(upstream: Upstream, local: EmbeddedModel) -> list[Listed]:
    """What an upstream is known to serve, at least its default model."""
    match upstream.kind:
        case "local":
            return [_embedded(local)] if not local.off else []
        case "custom":
            known = [upstream.default_model] if upstream.default_model else []
        case _:
            known = [model for model in MODELS if model.startswith(upstream.prefix)] or [upstream.default_model]
    return [Listed(ModelInfo(id=model, provider=model.partition("/")[0])) for model in known]


def _problem(fault: Exception) -> str:
    return fault.message if isinstance(fault, AgentStreamError) else UpstreamFailed.default


def _embedded(local: EmbeddedModel) -> Listed:
    return Listed(ModelInfo(id=local.model_id, provider="local", name=local.name, context_tokens=local.context_tokens))


def _server(said: Mapping[str, Any]) -> McpServerInfo | None:
    """A public MCP server of the marketplace."""
    if said.get("visibility", "public") != "public":
        return None
    auth = (said.get("tags") or {}).get("auth") or {}
    return McpServerInfo(
        configured=False,
        server=said["slug"],
        name=text(said.get("title") or said["slug"]),
        description=text(said.get("description")),
        tool_count=said.get("tool_count"),
        needs_authorization=not auth["none"] if isinstance(auth.get("none"), bool) else None,
    )
