"""The JSON of the catalogue: the models and the MCP servers on offer."""

from typing import Annotated, Literal

from pydantic import Field

from closed_models import Closed, Maybe
from tool_models import SERVER_PATTERN

ListSource = Literal["upstream", "stale", "builtin"]


class TokenPrices(Closed):
    """US dollars per million tokens.

    Cached and written input costs as much as other input, and reasoning as much as other output, unless it has a price
    of its own.
    """

    input_per_million: float
    output_per_million: float
    cached_input_per_million: Maybe[float] = None
    cache_write_per_million: Maybe[float] = None
    reasoning_per_million: Maybe[float] = None


class LongInputPrices(TokenPrices):
    """The prices of all tokens of a request that has more than `above_input_tokens` tokens of input."""

    above_input_tokens: int


class Pricing(TokenPrices):
    """The price of a model, and its source: MODEL_PRICES, the model server's own list, or the snapshot.

    The snapshot is the list of public prices that comes with the service. `per_request` is in US dollars.
    """

    source: Literal["settings", "server", "snapshot"]
    per_request: Maybe[float] = None
    long_input: Maybe[list[LongInputPrices]] = None


class ModelInfo(Closed):
    """A model that a request can name. Sizes are in tokens. Keys that the upstream doesn't report are left out.

    A model without `pricing` has no known price.
    """

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
