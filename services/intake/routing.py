"""Finds the model of a request and the upstream that serves it."""

from errors import ModelUnavailable
from models import AgentRequest
from services.catalog.catalog import Catalog
from services.upstreams.selection import Upstreams
from services.upstreams.upstream import Route


class RouteResolver:
    """Resolves requests and model ids to routes."""

    def __init__(self, upstreams: Upstreams, catalog: Catalog) -> None:
        self._upstreams = upstreams
        self._catalog = catalog

    async def for_request(self, request: AgentRequest) -> Route:
        """Return the route to the request's model, or to the default model.

        Raise `ModelUnavailable`, `LocalModelUnavailable`, or as `Catalog.first_model` if the default model is needed.
        """
        return self.for_model(request.model or await self._default_model(), request)

    def for_model(self, model: str, request: AgentRequest) -> Route:
        """Return the route to a model. Raise `ModelUnavailable` or `LocalModelUnavailable`."""
        route = self._upstreams.route(model)
        if route.upstream.kind == "local":
            self._upstreams.local.require()
        if route.upstream.kind == "local" and request.image_urls():
            raise ModelUnavailable(
                "The embedded model reads text only: for images, set DEDALUS_API_KEY or a provider's."
            )
        return route

    async def _default_model(self) -> str:
        """Return the configured model, or the first one that the upstream lists."""
        if self._upstreams.default_model:
            return self._upstreams.default_model
        return await self._catalog.first_model()
