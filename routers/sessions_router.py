"""Routes of /api/agent/sessions: create, list, get, change and delete sessions; read their messages."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from routers.dependencies import Limit, Owner, PageCursor, ServiceDep, SessionIdPath, SessionsDep, StatusFilter
from routers.json_route import JsonRoute, json_response
from routers.openapi import ERRORS
from run_models import RunList, SessionKey
from session_models import MessageList, Session, SessionCreate, SessionList, SessionUpdate

router = APIRouter(prefix="/api/agent/sessions", tags=["sessions"], responses=ERRORS, route_class=JsonRoute)


async def _session_key(session_id: SessionIdPath, owner: Owner) -> SessionKey:
    return SessionKey(owner, session_id)


ThisSession = Annotated[SessionKey, Depends(_session_key)]
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
async def create_session(
    request: Request, response: Response, body: SessionCreate, sessions: SessionsDep, owner: Owner
) -> Session:
    """Create a session. This is optional: a run with a new `session_id` also creates it."""
    session = await sessions.create(owner, body)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}{router.prefix}/{session.session_id}"
    return session


@router.get("", summary="List sessions")
async def list_sessions(
    sessions: SessionsDep, owner: Owner, q: TitleSearch = "", cursor: PageCursor = None, limit: Limit = 50
) -> SessionList:
    """Return sessions, the most recently used first.

    A page of a search can have fewer than `limit` sessions, even none. The search is over when there is no
    `next_cursor`.
    """
    return await sessions.page(owner, cursor, limit, q)


@router.get("/{session_id}", summary="Get a session")
async def get_session(key: ThisSession, sessions: SessionsDep) -> Session:
    """Return a session with its title, metadata, usage and the status of its latest run."""
    return await sessions.get(key)


@router.patch("/{session_id}", summary="Change a session's title or metadata")
async def update_session(key: ThisSession, body: SessionUpdate, sessions: SessionsDep) -> Session:
    """Change the title, the metadata or both. A field that the body omits keeps its value."""
    return await sessions.update(key, body)


@router.delete("/{session_id}", summary="Delete a session", status_code=204)
async def delete_session(key: ThisSession, sessions: SessionsDep) -> Response:
    """Delete a session with its runs, events and messages. It is a 409 error while one of its runs has not ended."""
    await sessions.delete(key)
    return Response(status_code=204)


@router.get("/{session_id}/messages", summary="Read a session's messages", response_model=MessageList)
async def session_messages(
    key: ThisSession,
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
    return await json_response(await sessions.messages(key, run_id, tree, cursor, limit))


@router.get("/{session_id}/runs", summary="List a session's runs")
async def session_runs(
    key: ThisSession,
    service: ServiceDep,
    status: StatusFilter = None,
    cursor: PageCursor = None,
    limit: Limit = 50,
) -> RunList:
    """Return the session's runs, the latest first."""
    return await service.session_runs(key, status, cursor, limit)
