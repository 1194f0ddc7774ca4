"""What this is, whether it lives, and whether it can take a run."""

from fastapi import APIRouter

from events import Closed
from routers.dependencies import CatalogDep, ReadinessDep, SettingsDep, UpstreamsDep
from routers.openapi import ERRORS, VERSION

router = APIRouter(tags=["health"], responses=ERRORS)


class About(Closed):
    """What this is and where to read on."""

    name: str
    version: str
    docs: str
    openapi: str
    health: str
    ready: str


class Health(Closed):
    """The process answers."""

    status: str


class Ready(Closed):
    """A run can start. `upstreams` names what would serve it, `event_log` where its events are kept.

    `default_model` is null while the list of models that decides it has not come from the model's server.
    """

    status: str
    upstreams: list[str]
    default_model: str | None
    event_log: str


@router.head("/", include_in_schema=False)
@router.get("/", summary="Show what this service is")
async def about() -> About:
    """Return the name and version of this service, and where its documentation is."""
    return About(
        name="Agent Stream", version=VERSION, docs="/docs", openapi="/openapi.json", health="/health", ready="/ready"
    )


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Check that the process is alive")
async def health() -> Health:
    """Return `ok`, whatever else is wrong: an answer proves that the process is alive."""
    return Health(status="ok")


@router.head("/ready", include_in_schema=False)
@router.get("/ready", summary="Check that a run can start")
async def ready(readiness: ReadinessDep, catalog: CatalogDep, upstreams: UpstreamsDep, settings: SettingsDep) -> Ready:
    """Return 200 if this service can start a run now, else 503 with the reason.

    The model's server is not asked, so that its outage doesn't take this service out of a load balancer.
    `GET /api/agent/models` asks it, and reports a `problem`.
    """
    await readiness.check()
    return Ready(
        status="ready",
        upstreams=[upstream.name for upstream in upstreams.all],
        default_model=catalog.default_model(),
        event_log="memory" if settings.event_log_directory() is None else "file",
    )
