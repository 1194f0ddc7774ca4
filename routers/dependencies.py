"""The dependencies of routes: services, the request id, and the parameters that several routes share."""

from typing import Annotated, Literal

from fastapi import Depends, Header, Path, Query, Request
from pydantic import WithJsonSchema

from errors import InvalidCursor
from routers.sse import FrameStream, StreamEnds, to_the_wait
from run_models import RunStatus
from services.access.api_keys import ApiKeys
from services.access.caller import Caller
from services.access.gate import Gate
from services.agent_service import AgentService
from services.agents.toolbox import Toolbox
from services.caller_data import CallerData
from services.catalog.catalog import Catalog
from services.readiness import Readiness
from services.runs.live import LiveRuns
from services.runs.readers import RunStream
from services.sessions.sessions import Sessions
from services.upstreams.selection import Upstreams
from settings import Settings


async def _service(request: Request) -> AgentService:
    service: AgentService = request.app.state.service
    return service


async def _sessions(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


async def _readiness(request: Request) -> Readiness:
    readiness: Readiness = request.app.state.readiness
    return readiness


async def _catalog(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog


async def _tools(request: Request) -> Toolbox:
    tools: Toolbox = request.app.state.tools
    return tools


async def _upstreams(request: Request) -> Upstreams:
    upstreams: Upstreams = request.app.state.upstreams
    return upstreams


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _request_id(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


async def _api_keys(request: Request) -> ApiKeys:
    keys: ApiKeys = request.app.state.api_keys
    return keys


async def _caller_data(request: Request) -> CallerData:
    data: CallerData = request.app.state.caller_data
    return data


async def _caller(request: Request) -> Caller:
    return caller_of(request)


async def _owner(request: Request) -> str:
    return caller_of(request).owner


def caller_of(request: Request) -> Caller:
    """Return the caller that the route has admitted."""
    caller: Caller = request.state.caller
    return caller


async def _cursor(
    last_event_id: Annotated[
        str | None, Header(description="The number of the last event received. It takes precedence over `after`.")
    ] = None,
    after: Annotated[
        str | None, Query(description="As `Last-Event-ID`, for clients that can't set headers. 0 is the beginning.")
    ] = None,
) -> int:
    cursor = last_event_id or after or "0"
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):  # so that it fits into 64 bits
        raise InvalidCursor
    return int(cursor)


ServiceDep = Annotated[AgentService, Depends(_service)]
SessionsDep = Annotated[Sessions, Depends(_sessions)]
ReadinessDep = Annotated[Readiness, Depends(_readiness)]
ToolsDep = Annotated[Toolbox, Depends(_tools)]
CatalogDep = Annotated[Catalog, Depends(_catalog)]
UpstreamsDep = Annotated[Upstreams, Depends(_upstreams)]
CallerDataDep = Annotated[CallerData, Depends(_caller_data)]
ApiKeysDep = Annotated[ApiKeys, Depends(_api_keys)]
SettingsDep = Annotated[Settings, Depends(_settings)]
RequestId = Annotated[str, Depends(_request_id)]
CallerDep = Annotated[Caller, Depends(_caller)]
Owner = Annotated[str, Depends(_owner)]
Cursor = Annotated[int, Depends(_cursor)]


RunIdPath = Annotated[str, Path(description="The id of the run.")]
ToolCallIdPath = Annotated[str, Path(description="The id of the tool call that waits for a decision.")]
SessionIdPath = Annotated[str, Path(max_length=128, description="The id of the session.")]
StatusFilter = Annotated[RunStatus | None, Query(description="Return only runs with this status.")]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[!-~]{1,255}$",
        description="A unique value, chosen by the client. The same key and body within 24 hours return the same run.",
    ),
]
PageCursor = Annotated[str | None, Query(max_length=256, description="The `next_cursor` of the previous page.")]
Limit = Annotated[int, Query(ge=1, le=200, description="The maximum number of items in a page.")]


Until = Annotated[
    Literal["complete", "waiting"] | None,
    WithJsonSchema(
        {"type": "string", "enum": ["complete", "waiting"]}
    ),  # Swagger UI sends an example as a default if null is allowed
    Query(
        description=(
            "Where the response ends. By default, that is the run's `complete`. With `waiting`, it also ends when the "
            "run waits for an approval or a client tool. Resume at `Location`, after the last event's id."
        ),
        openapi_examples={
            "waiting": {"summary": "End when the run waits, which can take a day", "value": "waiting"},
            "complete": {"summary": "End when the run ends", "value": "complete"},
        },
    ),
]


Wait = Annotated[
    bool,
    Query(
        description=(
            "With `false`, nothing is streamed: the response is 202 with the run, as soon as it has been started. Poll "
            "its events at `Location`, with `?wait=false`."
        )
    ),
]


def run_path(request: Request, run_id: str) -> str:
    """Return a run's path, for the Location header."""
    return f"{request.scope.get('root_path', '')}/api/agent/runs/{run_id}"


def frame_stream(request: Request, stream: RunStream, until: str | None = None) -> FrameStream:
    """Return the response that streams a run's frames, to its end or, with `until=waiting`, to its wait."""
    service: AgentService = request.app.state.service
    if until == "waiting":
        owner = caller_of(request).owner

        async def last_seq() -> int:
            return (await service.get(owner, stream.run_id)).last_seq

        stream.frames = to_the_wait(stream.frames, last_seq)
    live: LiveRuns = request.app.state.live
    gate: Gate = request.app.state.gate
    settings: Settings = request.app.state.settings
    return FrameStream(
        stream,
        location=f"{run_path(request, stream.run_id)}/events",
        server_send=request.state.server_send,
        ends=StreamEnds(live.readers_must_leave, gate.left(caller_of(request))),
        heartbeat_s=settings.heartbeat_s,
        send_timeout_s=settings.send_timeout_s,
    )
