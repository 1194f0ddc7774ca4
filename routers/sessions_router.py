"""/api/agent/sessions: conversations that the service keeps."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from models import RunList, RunStatus
from routers.dependencies import Limit, PageCursor, ServiceDep
from routers.json_route import JsonRoute
from routers.openapi import ERRORS
from session_models import MessageList, Session, SessionCreate, SessionList, SessionUpdate

router = APIRouter(prefix="/api/agent/sessions", tags=["sessions"], responses=ERRORS, route_class=JsonRoute)

SessionPath = Annotated[str, Path(max_length=128)]


@router.post("", status_code=201)
async def create_session(request: Request, response: Response, body: SessionCreate, service: ServiceDep) -> Session:
    """Make a session. Not needed: a request with a `session_id` that is new makes it, too."""
    session = await service.sessions.create(body)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}{router.prefix}/{session.session_id}"
    return session


@router.get("")
async def list_sessions(service: ServiceDep, cursor: PageCursor = None, limit: Limit = 50) -> SessionList:
    """The sessions, the last used first."""
    return await service.sessions.page(cursor, limit)


@router.get("/{session_id}")
async def get_session(session_id: SessionPath, service: ServiceDep) -> Session:
    """A session."""
    return await service.sessions.get(session_id)


@router.patch("/{session_id}")
async def update_session(session_id: SessionPath, body: SessionUpdate, service: ServiceDep) -> Session:
    """Change its title or metadata."""
    return await service.sessions.update(session_id, body)


@router.delete("/{session_id}", status_code=204)
async def delete_session(session_id: SessionPath, service: ServiceDep) -> Response:
    """Delete a session with its runs, their events and messages. While one of its runs is going, that is a 409."""
    await service.sessions.delete(session_id)
    return Response(status_code=204)


@router.get("/{session_id}/messages")
async def session_messages(
    session_id: SessionPath,
    service: ServiceDep,
    run_id: Annotated[str | None, Query(description="The run that ends the branch; by default the latest.")] = None,
    tree: Annotated[
        bool, Query(description="All messages of all branches; `parent_id` tells how they hang together.")
    ] = False,
    cursor: PageCursor = None,
    limit: Limit = 50,
) -> MessageList:
    """The conversation's messages in order, with the thinking, and with the status of each run.

    A page is shorter than `limit` where the messages are long.
    """
    return await service.sessions.messages(session_id, run_id, tree, cursor, limit)


@router.get("/{session_id}/runs")
async def session_runs(
    session_id: SessionPath,
    service: ServiceDep,
    status: RunStatus | None = None,
    cursor: PageCursor = None,
    limit: Limit = 50,
) -> RunList:
    """The session's runs, the latest first."""
    return await service.runs(session_id, status, cursor, limit)
