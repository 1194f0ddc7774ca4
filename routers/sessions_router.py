"""Routes of /api/agent/sessions: create, list, get, change and delete sessions; read their messages."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from routers.dependencies import Limit, PageCursor, ServiceDep, SessionIdPath, SessionsDep, StatusFilter
from routers.json_route import JsonRoute, json_response
from routers.openapi import ERRORS
from run_models import RunList
from session_models import MessageList, Session, SessionCreate, SessionList, SessionUpdate

router = APIRouter(prefix="/api/agent/sessions", tags=["sessions"], responses=ERRORS, route_class=JsonRoute)

TitleSearch = Annotated[
    str,
    Query(
        max_length=200,
        description=(
            "Words that the title of a session contains, in any order and in upper or lower case. A session without a "
            "title is searched by its id."
        ),
    ),
]


@router.post("", summary="Create a session", status_code=201)
async def create_session(request: Request, response: Response, body: SessionCreate, sessions: SessionsDep) -> Session:
    """Create a session. This is optional: a run with a new `session_id` also creates it."""
    session = await sessions.create(body)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}{router.prefix}/{session.session_id}"
    return session


@router.get("", summary="List sessions")
async def list_sessions(
    sessions: SessionsDep, q: TitleSearch = "", cursor: PageCursor = None, limit: Limit = 50
) -> SessionList:
    """Return sessions, the most recently used first.

    A page of a search can have fewer than `limit` sessions, even none. The search is over when there is no
    `next_cursor`.
    """
    return await sessions.page(cursor, limit, q)


@router.get("/{session_id}", summary="Get a session")
async def get_session(session_id: SessionIdPath, sessions: SessionsDep) -> Session:
    """Return a session with its title, metadata, usage and the status of its latest run."""
    return await sessions.get(session_id)


@router.patch("/{session_id}", summary="Change a session's title or metadata")
async def update_session(session_id: SessionIdPath, body: SessionUpdate, sessions: SessionsDep) -> Session:
    """Change the title, the metadata or both. A field that the body omits keeps its value."""
    return await sessions.update(session_id, body)


@router.delete("/{session_id}", summary="Delete a session", status_code=204)
async def delete_session(session_id: SessionIdPath, sessions: SessionsDep) -> Response:
    """Delete a session with its runs, events and messages. It is a 409 error while one of its runs has not ended."""
    await sessions.delete(session_id)
    return Response(status_code=204)


@router.get("/{session_id}/messages", summary="Read a session's messages", response_model=MessageList)
async def session_messages(
    session_id: SessionIdPath,
    sessions: SessionsDep,
    run_id: Annotated[
        str | None, Query(description="The last run of the branch to return. The default is the session's latest run.")
    ] = None,
    tree: Annotated[
        bool,
        Query(description="Return the messages of all branches. `parent_id` links each message to the one before it."),
    ] = False,
    cursor: PageCursor = None,
    limit: Limit = 50,
) -> Response:
    """Return the messages of one branch in order, each with its thinking, tool calls and the status of its run.

    A page has fewer than `limit` messages if they are long.
    """
    return await json_response(await sessions.messages(session_id, run_id, tree, cursor, limit))


@router.get("/{session_id}/runs", summary="List a session's runs")
async def session_runs(
    session_id: SessionIdPath,
    service: ServiceDep,
    status: StatusFilter = None,
    cursor: PageCursor = None,
    limit: Limit = 50,
) -> RunList:
    """Return the session's runs, the latest first."""
    return await service.session_runs(session_id, status, cursor, limit)
