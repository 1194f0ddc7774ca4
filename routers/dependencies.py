"""What the routes ask for by type."""

from typing import Annotated

from fastapi import Depends, Header, Query, Request

from errors import InvalidCursor
from routers.sse import FrameStream
from services.agent_service import AgentService, RunStream
from services.catalog import Catalog
from services.upstreams import Upstreams
from settings import Settings


async def _service(request: Request) -> AgentService:
    service: AgentService = request.app.state.service
    return service


async def _catalog(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog


async def _upstreams(request: Request) -> Upstreams:
    upstreams: Upstreams = request.app.state.upstreams
    return upstreams


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _request_id(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


async def _cursor(
    last_event_id: Annotated[
        str | None, Header(description="The number of the last event seen. It wins over `after`.")
    ] = None,
    after: Annotated[
        str | None, Query(description="The same, for callers that can't set the header. 0 is the start.")
    ] = None,
) -> int:
    given = last_event_id or after or "0"
    if not (given.isascii() and given.isdecimal() and len(given) < 19):
        raise InvalidCursor
    return int(given)


ServiceDep = Annotated[AgentService, Depends(_service)]
CatalogDep = Annotated[Catalog, Depends(_catalog)]
UpstreamsDep = Annotated[Upstreams, Depends(_upstreams)]
SettingsDep = Annotated[Settings, Depends(_settings)]
RequestId = Annotated[str, Depends(_request_id)]
Cursor = Annotated[int, Depends(_cursor)]


def events_path(request: Request, run_id: str) -> str:
    """Where a run's events are, for the Location header."""
    return f"{request.scope.get('root_path', '')}/api/agent/runs/{run_id}/events"


def frame_stream(request: Request, stream: RunStream) -> FrameStream:
    """The response that carries a run's frames."""
    settings: Settings = request.app.state.settings
    return FrameStream(
        stream,
        location=events_path(request, stream.run_id),
        server_send=request.state.server_send,
        leave=request.app.state.service.readers_must_leave,
        heartbeat_s=settings.heartbeat_s,
        send_timeout_s=settings.send_timeout_s,
    )
