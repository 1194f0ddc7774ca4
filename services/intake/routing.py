"""Finds the model of a request and the upstream that serves it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

from errors import ErrorDetail, Forbidden, ModelUnavailable, RequestError
from models import AgentRequest
from services.access.caller import Caller
from services.agents.budget import NO_BOUNDS, BudgetBounds
from services.agents.parameters import model_parameters
from services.catalog.catalog import Catalog
from services.intake.budget_bounds import check_price
from services.upstreams.selection import Upstreams
from services.upstreams.upstream import Route
from services.upstreams.wire_parameters import check_parameters
from services.upstreams.wire_parts import check_parts

NOT_ALLOWED = "The API key does not allow the model {model}."
NO_FALLBACKS: Mapping[str, Sequence[str]] = MappingProxyType({})


class RouteResolver:
    """Resolves requests and model ids to routes."""

    def __init__(
        self,
        upstreams: Upstreams,
        catalog: Catalog,
        fallback_models: Mapping[str, Sequence[str]] = NO_FALLBACKS,
        bounds: BudgetBounds = NO_BOUNDS,
    ) -> None:
        self._upstreams = upstreams
        self._catalog = catalog
        self._fallback_models = fallback_models
        self._bounds = bounds

    async def for_request(self, request: AgentRequest) -> list[Route]:
        """Return the route to the request's model, or to the default model, and the routes to its fallbacks.

        If the cost is limited, each of them has a known price. Raise `ModelUnavailable`, `LocalModelUnavailable`,
        `InvalidRequest`, or as `Catalog.first_model` if the default model is needed.
        """
        model = request.model or await self._default_model()
        await self._know_prices(request)
        first = self._priced(model, request)
        if first.substituted:
            return [first]  # the embedded model would be substituted for the fallbacks, too
        if request.fallback_models is None:
            return _each_once(first, self._available(self._fallback_models.get(model, ()), request))
        return _each_once(first, self._named(request.fallback_models, request))

    async def allowed(self, request: AgentRequest, caller: Caller) -> AgentRequest:
        """Return the request with models that its caller may use, by name, so that it keeps to them after a restart.

        Raise `Forbidden` for others, or as `for_request`.
        """
        if caller.models is None:
            return request
        model = request.model or await self._default_model()
        fallbacks = request.fallback_models
        for named in (model, *(fallbacks or ())):
            if not caller.may_use(named):
                raise Forbidden(NOT_ALLOWED.format(model=named))
        if fallbacks is None:
            offered = self._available(self._fallback_models.get(model, ()), request)
            fallbacks = [route.model for route in offered if caller.may_use(route.model)]
        return request.model_copy(update={"model": model, "fallback_models": fallbacks})

    async def after_wait(self, models: Sequence[str], request: AgentRequest) -> list[Route]:
        """Return the routes to the model of a run that has waited, and to those of its fallbacks that are available.

        Raise `ModelUnavailable`, `LocalModelUnavailable` or `InvalidRequest`.
        """
        await self._know_prices(request)
        return [self._priced(models[0], request), *self._available(models[1:], request)]

    def for_model(self, model: str, request: AgentRequest) -> Route:
        """Return the route to a model. Raise `ModelUnavailable`, `LocalModelUnavailable`, or as `check_parameters`.

        Raise `InvalidRequest`, too, for a part of a message that the server can't take.
        """
        route = self._upstreams.route(model)
        if route.upstream.kind == "local":
            self._upstreams.local.require()
        media = request.media()
        if route.upstream.kind == "local" and media:
            raise ModelUnavailable(
                "The embedded model reads text only: for images, set DEDALUS_API_KEY or a provider's."
            )
        check_parameters(model_parameters(request), route.rules)
        check_parts(media, route.rules, model)
        return route

    def _named(self, models: Sequence[str], request: AgentRequest) -> Iterator[Route]:
        """Yield the routes to the request's fallbacks. Raise `ModelUnavailable` for one that no upstream offers."""
        for index, model in enumerate(models):
            try:
                yield self._priced(model, request)
            except ModelUnavailable as refused:
                detail = ErrorDetail(f"fallback_models.{index}", refused.message)
                raise ModelUnavailable(f"A model in fallback_models: {refused.message}", details=[detail]) from None

    def _available(self, models: Sequence[str], request: AgentRequest) -> Iterator[Route]:
        """Yield the routes to the models that can answer this request."""
        for model in models:
            with suppress(RequestError):
                yield self._priced(model, request)

    def _priced(self, model: str, request: AgentRequest) -> Route:
        """Return the route to a model, whose price is known if the cost is limited. Raise as `for_model`."""
        route = self.for_model(model, request)
        check_price(request, route, self._bounds)
        return route

    async def _know_prices(self, request: AgentRequest) -> None:
        """If the cost is limited, wait for the first price lists of the servers."""
        if request.max_cost_usd is not None or self._bounds.max_cost_usd is not None:
            await self._catalog.models()

    async def _default_model(self) -> str:
        """Return the configured model, or the first one that the upstream lists."""
        if self._upstreams.default_model:
            return self._upstreams.default_model
        return await self._catalog.first_model()


def _each_once(first: Route, fallbacks: Iterable[Route]) -> list[Route]:
    """Return the routes in their order, each model once: one that has failed isn't asked again."""
    routes: dict[tuple[str, str], Route] = {}
    for route in (first, *fallbacks):
        routes.setdefault((route.upstream.name, route.wire_model), route)
    return [*routes.values()]
