"""Routes for operators and load balancers: what this service is, whether it is alive and ready."""

from fastapi import APIRouter, Request, Response

from closed_models import Closed
from routers.dependencies import CatalogDep, ReadinessDep, SettingsDep, UpstreamsDep
from routers.guarded_route import GuardedRoute
from routers.openapi import ERRORS, VERSION
from routers.page import Page

router = APIRouter(tags=["health"], responses=ERRORS, route_class=GuardedRoute)


class About(Closed):
    """The service's name and version, and the paths of its documentation and checks."""

    name: str
    version: str
    docs: str
    openapi: str
    health: str
    ready: str


class Health(Closed):
    """The process is alive."""

    status: str


class Ready(Closed):
    """A run can start. `upstreams` names the model servers in use, and `event_log` the backend that stores events.

    `default_model` is null until the model server has returned the list of models that decides it.
    """

    status: str
    upstreams: list[str]
    default_model: str | None
    event_log: str


@router.head("/", include_in_schema=False, response_model=About)
@router.get("/", summary="Get the service's name and version", response_model=About)
async def about(request: Request, response: Response) -> Response | About:
    """Return the name and version of this service and the paths of its documentation.

    A client that prefers text/html, as browsers do, gets the page instead, unless PAGE is `off`.
    """
    page: Page = request.app.state.page
    if shown := page.wanted(request):
        return shown
    response.headers["Vary"] = "Accept"
    return About(
        name="Agent Stream", version=VERSION, docs="/docs", openapi="/openapi.json", health="/health", ready="/ready"
    )


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Check that the process is alive")
async def health() -> Health:
    """Return `ok` while the process is alive. Nothing else is checked."""
    return Health(status="ok")


@router.head("/ready", include_in_schema=False)
@router.get("/ready", summary="Check that a run can start")
async def ready(readiness: ReadinessDep, catalog: CatalogDep, upstreams: UpstreamsDep, settings: SettingsDep) -> Ready:
    """Return 200 if this service can start a run now, else 503 with the reason.

    The check does not call the model server, so an outage there does not take this service out of a load balancer.
    `GET /api/agent/models` calls it and reports a `problem`.
    """
    await readiness.check()
    return Ready(
        status="ready",
        upstreams=[upstream.name for upstream in upstreams.all],
        default_model=catalog.default_model(),
        event_log="memory" if settings.event_log_directory() is None else "file",
    )
