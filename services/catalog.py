"""What is on offer: the models of the configured upstreams, and MCP servers. Neither list restricts requests."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any, Generic, Literal, TypeVar

import httpx
from pydantic import Field, ValidationError

from errors import AgentStreamError
from events import Closed, Maybe
from services.builtin_catalog import MCP_SERVERS, MODELS
from services.local_model import MODEL_ID
from services.mcp_choice import requested_as
from services.upstreams import Upstream, Upstreams
from settings import McpServer
from tool_models import SERVER_PATTERN

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 5.0
RETRY_S = 30.0  # how long a failed refresh is not tried again

ListSource = Literal["upstream", "stale", "builtin"]
WORST_LAST: tuple[ListSource, ...] = ("upstream", "stale", "builtin")
ODD = (ValueError, TypeError, LookupError, AttributeError)  # what reading something of an unknown shape can raise
T = TypeVar("T")


class Pricing(Closed):
    """US dollars per million tokens."""

    input_per_million: Maybe[float] = None
    output_per_million: Maybe[float] = None
    cached_input_per_million: Maybe[float] = None


class ModelInfo(Closed):
    """A model that a request can name. Sizes are in tokens; what the upstream doesn't tell is left out."""

    id: str
    provider: str
    name: Maybe[str] = None
    description: Maybe[str] = None
    capabilities: Maybe[dict[str, bool]] = None
    context_tokens: Maybe[int] = None
    max_output_tokens: Maybe[int] = None
    pricing: Maybe[Pricing] = None


class ModelList(Closed):
    """The models. `source` says whether the list is the upstream's, an older one of its, or built in.

    Of several upstreams' lists, it is the worst of them.
    """

    source: ListSource
    default_model: Maybe[str] = None
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
        self._due = 0.0
        self._tried = False
        self._refreshing: asyncio.Task[None] | None = None

    async def get(self) -> tuple[list[T], ListSource]:
        """The newest list there is. Waits for a fetch only the first time, and where there is nothing to answer."""
        if self._refreshing is None and time.monotonic() >= self._due:
            self._refreshing = asyncio.create_task(self._refresh(), name="catalogue")
        if self._refreshing is not None and not (self._tried and self._list):
            await asyncio.shield(self._refreshing)
        return self._list, self._source

    async def _refresh(self) -> None:
        wait = self._ttl_s
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                self._list = await self._fetch()
            self._source = "upstream"
        except (AgentStreamError, httpx.HTTPError, httpx.InvalidURL, TimeoutError, *ODD) as error:
            logger.warning("a list could not be fetched: %r", error.__cause__ or error)
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
            Cached(partial(self._fetch_models, upstream), _builtin_models(upstream), ttl_s)
            for upstream in upstreams.all
        ]

    async def models(self) -> ModelList:
        """The models of all configured upstreams."""
        answers = await asyncio.gather(*(models.get() for models in self._models))
        return ModelList(
            source=max((source for _, source in answers), key=WORST_LAST.index),
            default_model=self._upstreams.default_model,
            models=[model for models, _ in answers for model in models],
        )

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

    async def _fetch_models(self, upstream: Upstream) -> list[ModelInfo]:
        answer = await self._upstreams.models(upstream)
        return _readable(answer["data"], partial(_model, upstream))

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


def _provider(model: str) -> str:
    return model.partition("/")[0]


def _builtin_models(upstream: Upstream) -> list[ModelInfo]:
    """What an upstream is known to serve, at least its default model."""
    match upstream.kind:
        case "local":
            return [ModelInfo(id=MODEL_ID, provider="local", name="SmolLM2 135M Instruct", context_tokens=8192)]
        case "custom":
            return []
        case _:
            known = [model for model in MODELS if model.startswith(upstream.prefix)] or [upstream.default_model]
            return [ModelInfo(id=model, provider=_provider(model)) for model in known]


def _model(upstream: Upstream, said: Mapping[str, Any]) -> ModelInfo:
    """A model as Dedalus describes it, or as far as an OpenAI-compatible server does."""
    if not (isinstance(said["id"], str) and said["id"]):
        raise TypeError("a model's id is a text")
    model = upstream.prefix + said["id"].removeprefix("models/")
    ours = upstream.name if upstream.kind in {"provider", "local"} else None
    named = (said.get("provider"), ours, said.get("owned_by"))
    provider = next((name for name in named if name and isinstance(name, str)), _provider(model))
    try:
        return ModelInfo(id=model, provider=provider, **_described(said))
    except ValidationError:
        return ModelInfo(id=model, provider=provider)


def _described(said: Mapping[str, Any]) -> dict[str, Any]:
    limits, meta, defaults, capabilities, pricing = (
        part if isinstance(part := said.get(key), dict) else {}
        for key in ("token_limits", "meta", "defaults", "capabilities", "pricing")
    )
    prices = {name: price for name in Pricing.model_fields if (price := pricing.get(name)) is not None}
    return {
        "name": said.get("display_name"),
        "description": said.get("description"),
        "capabilities": {name: can for name, can in capabilities.items() if isinstance(can, bool)} or None,
        "context_tokens": limits.get("input") or meta.get("n_ctx") or said.get("context_window"),
        "max_output_tokens": limits.get("output") or defaults.get("max_output_tokens"),
        "pricing": prices or None,
    }


def _server(said: Mapping[str, Any]) -> McpServerInfo | None:
    """A public MCP server of the marketplace."""
    if said.get("visibility", "public") != "public":
        return None
    auth = (said.get("tags") or {}).get("auth") or {}
    return McpServerInfo(
        configured=False,
        server=said["slug"],
        name=said.get("title") or said["slug"],
        description=said.get("description"),
        tool_count=said.get("tool_count"),
        needs_authorization=not auth["none"] if isinstance(auth.get("none"), bool) else None,
    )
