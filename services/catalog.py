"""What is on offer: the models of the configured upstreams, and MCP servers. Neither list restricts requests."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, Literal, TypeVar

import httpx
from dedalus_labs import APIError

from events import Closed, Maybe
from services.builtin_catalog import MCP_SERVERS, MODELS
from services.local_model import MODEL_ID
from services.upstreams import Upstream, Upstreams
from settings import McpServer

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 5.0
RETRY_S = 30.0  # how long a failed refresh is not tried again

ListSource = Literal["upstream", "stale", "builtin"]
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
    """The models. `source` says whether the list is the upstream's, an older one of its, or built in."""

    source: ListSource
    default_model: Maybe[str] = None
    models: list[ModelInfo]


class McpServerInfo(Closed):
    """An MCP server. `server` is what a request puts into `mcp_servers`."""

    server: str
    name: str
    description: Maybe[str] = None
    tool_count: Maybe[int] = None
    needs_authorization: Maybe[bool] = None
    configured: bool = False


class McpServerList(Closed):
    """The MCP servers: the operator's own first. `source` is where the others come from."""

    source: ListSource
    servers: list[McpServerInfo]


class Cached(Generic[T]):
    """A list that is fetched once per `ttl_s`, in the background once there is one, and kept when that fails."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], builtin: T, ttl_s: float) -> None:
        self._fetch = fetch
        self._value = builtin
        self._source: ListSource = "builtin"
        self._ttl_s = ttl_s
        self._due = 0.0
        self._refreshing: asyncio.Task[None] | None = None

    async def get(self) -> tuple[T, ListSource]:
        """The newest list there is. Only the very first call waits for the fetch."""
        if self._refreshing is None and time.monotonic() >= self._due:
            self._refreshing = asyncio.create_task(self._refresh(), name="catalogue")
        if self._refreshing is not None and self._source == "builtin":
            await asyncio.shield(self._refreshing)
        return self._value, self._source

    async def _refresh(self) -> None:
        wait = self._ttl_s
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                self._value = await self._fetch()
            self._source = "upstream"
        except (APIError, httpx.HTTPError, TimeoutError, ValueError, TypeError, LookupError, AttributeError) as error:
            logger.warning("a list could not be fetched: %s", error)
            self._source = "builtin" if self._source == "builtin" else "stale"
            wait = min(wait, RETRY_S)
        self._due = time.monotonic() + wait
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
            McpServerInfo(server=str(server.url), name=name, description=server.description or None, configured=True)
            for name, server in mcp_servers.items()
        ]
        self._models = Cached(self._fetch_models, self._builtin_models(), ttl_s)
        self._servers = Cached(self._fetch_servers, [McpServerInfo(**server) for server in MCP_SERVERS], ttl_s)

    async def models(self) -> ModelList:
        """The models of all configured upstreams."""
        models, source = await self._models.get()
        return ModelList(source=source, default_model=self._upstreams.default_model, models=models)

    async def mcp_servers(self) -> McpServerList:
        """The operator's servers and those of the public marketplace."""
        servers, source = await self._servers.get()
        return McpServerList(source=source, servers=[*self._configured, *servers])

    async def aclose(self) -> None:
        """End fetches under way."""
        await self._models.aclose()
        await self._servers.aclose()

    def _builtin_models(self) -> list[ModelInfo]:
        prefixes = tuple(upstream.prefix for upstream in self._upstreams.all)
        if self._upstreams.all[0].kind == "local":
            return [ModelInfo(id=MODEL_ID, provider="local", name="SmolLM2 135M Instruct", context_tokens=8192)]
        if self._upstreams.all[0].kind == "custom":
            return []
        return [ModelInfo(id=model, provider=_provider(model)) for model in MODELS if model.startswith(prefixes)]

    async def _fetch_models(self) -> list[ModelInfo]:
        lists = await asyncio.gather(*(self._models_of(upstream) for upstream in self._upstreams.all))
        return [model for models in lists for model in models]

    async def _models_of(self, upstream: Upstream) -> Iterable[ModelInfo]:
        await self._upstreams.ready(upstream)
        answer: Any = await upstream.client.get("/models", cast_to=object, options={"headers": upstream.headers})
        return [_model(item, upstream) for item in answer["data"]]

    async def _fetch_servers(self) -> list[McpServerInfo]:
        if not self._marketplace_url:
            raise ValueError("MARKETPLACE_URL is empty")
        async with httpx.AsyncClient(follow_redirects=True, max_redirects=3, timeout=FETCH_TIMEOUT_S) as client:
            answer = (await client.get(self._marketplace_url)).raise_for_status().json()
        return [_server(item) for item in answer["repositories"] if item.get("visibility", "public") == "public"]


def _provider(model: str) -> str:
    return model.partition("/")[0]


def _model(said: Mapping[str, Any], upstream: Upstream) -> ModelInfo:
    """A model as Dedalus describes it, or as far as an OpenAI-compatible server does."""
    model = upstream.prefix + str(said["id"]).removeprefix("models/")
    ours = upstream.name if upstream.kind in {"provider", "local"} else None
    provider = said.get("provider") or ours or said.get("owned_by")
    capabilities = said.get("capabilities")
    limits = said.get("token_limits") or {}
    pricing = said.get("pricing")
    return ModelInfo(
        id=model,
        provider=provider or _provider(model),
        name=said.get("display_name"),
        description=said.get("description"),
        capabilities={k: v for k, v in capabilities.items() if isinstance(v, bool)}
        if isinstance(capabilities, dict)
        else None,
        context_tokens=limits.get("input") or (said.get("meta") or {}).get("n_ctx") or said.get("context_window"),
        max_output_tokens=limits.get("output") or (said.get("defaults") or {}).get("max_output_tokens"),
        pricing=Pricing(**{k: pricing.get(k) for k in Pricing.model_fields}) if isinstance(pricing, dict) else None,
    )


def _server(said: Mapping[str, Any]) -> McpServerInfo:
    auth = (said.get("tags") or {}).get("auth") or {}
    return McpServerInfo(
        server=said["slug"],
        name=said.get("title") or said["slug"],
        description=said.get("description"),
        tool_count=said.get("tool_count"),
        needs_authorization=not auth["none"] if isinstance(auth.get("none"), bool) else None,
    )
