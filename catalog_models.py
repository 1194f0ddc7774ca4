"""The JSON of the catalogue: the models and the MCP servers on offer."""

from typing import Annotated, Literal

from pydantic import Field

from events import Closed, Maybe
from tool_models import SERVER_PATTERN

ListSource = Literal["upstream", "stale", "builtin"]


class Pricing(Closed):
    """US dollars per million tokens."""

    input_per_million: Maybe[float] = None
    output_per_million: Maybe[float] = None
    cached_input_per_million: Maybe[float] = None


class ModelInfo(Closed):
    """A model that a request can name. Sizes are in tokens. Keys that the upstream doesn't report are left out."""

    id: str
    provider: str
    name: Maybe[str] = None
    description: Maybe[str] = None
    capabilities: Maybe[dict[str, bool]] = None
    context_tokens: Maybe[int] = None
    max_output_tokens: Maybe[int] = None
    pricing: Maybe[Pricing] = None


class ModelList(Closed):
    """The models on offer.

    `source` is `upstream` for a current list, `stale` for an older one that could not be refreshed, and `builtin` for
    the list that comes with the service. With several upstreams, it is the worst of their sources. `problem` says why
    a list could not be fetched and which setting to check.
    """

    source: ListSource
    default_model: Maybe[str] = None
    problem: Maybe[str] = None
    models: list[ModelInfo]


class McpServerInfo(Closed):
    """An MCP server. `server` is the value to put into a request's `mcp_servers`."""

    server: Annotated[str, Field(pattern=SERVER_PATTERN)]
    name: str
    description: Maybe[str] = None
    tool_count: Maybe[int] = None
    needs_authorization: Maybe[bool] = None
    configured: bool


class McpServerList(Closed):
    """The MCP servers on offer, the configured ones first. `source` is the source of the others."""

    source: ListSource
    servers: list[McpServerInfo]
