"""Routes of /api/agent/runs: start runs in the background; get, follow, answer, cancel and delete runs."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from access_models import RunToken
from event_logs.reading import frames_in, json_of
from models import AgentRequest
from routers.accept import accepts_events
from routers.dependencies import (
    CallerDep,
    Cursor,
    IdempotencyKey,
    Limit,
    Owner,
    PageCursor,
    RequestId,
    RunIdPath,
    ServiceDep,
    StatusFilter,
    ToolCallIdPath,
    Until,
    frame_stream,
    run_path,
)
from routers.json_route import JsonRoute
from routers.openapi import ERRORS, EVENTS, STREAM
from run_models import Run, RunList
from services.access.run_tokens import RunTokens
from services.agent_service import AgentService
from tool_models import ApprovalDecision, BudgetDecision, ClientToolResults

SessionFilter = Annotated[str | None, Query(description="Return only runs of this session.")]

router = APIRouter(prefix="/api/agent/runs", tags=["runs"], responses=ERRORS, route_class=JsonRoute)

EVENTS_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: STREAM[200] | {"content": STREAM[200]["content"] | {"application/x-ndjson": {"schema": EVENTS}}},
    204: {"description": "The run has ended and has no events after the cursor."},
}

ANSWERED: dict[int | str, dict[str, Any]] = {
    200: STREAM[200]
    | {"description": "With `Accept: text/event-stream`: the run's events after the cursor, then new ones."},
    204: {"description": "With `Accept: text/event-stream`: the run has ended and has no events after the cursor."},
}

STARTED: dict[int | str, dict[str, Any]] = {
    202: {
        "headers": {
            "X-Run-ID": {"description": "The id of the run.", "schema": {"type": "string"}},
            "Location": {"description": "The URL of the run.", "schema": {"type": "string"}},
        }
    }
}


@router.post("", summary="Start a run in the background", status_code=202, responses=STARTED)
async def start_run(
    request: Request,
    response: Response,
    body: AgentRequest,
    service: ServiceDep,
    caller: CallerDep,
    request_id: RequestId,
    key: IdempotencyKey = None,
) -> Run:
    """Start a run and respond at once. The run continues without a reader, unless `on_disconnect` is `cancel`."""
    run = await service.start_unattended(caller, body, request_id, key)
    response.headers["Location"] = run_path(request, run.run_id)
    response.headers["X-Run-ID"] = run.run_id
    return run


@router.get("", summary="List runs")
async def list_runs(
    service: ServiceDep,
    owner: Owner,
    session_id: SessionFilter = None,
    status: StatusFilter = None,
    cursor: PageCursor = None,
    limit: Limit = 50,
) -> RunList:
    """Return runs, the latest first. Filter by session, by status or by both."""
    return await service.runs(owner, session_id, status, cursor, limit)


@router.get("/{run_id}", summary="Get a run")
async def get_run(run_id: RunIdPath, service: ServiceDep, owner: Owner) -> Run:
    """Return a run's status. Once the run has ended, this includes its usage and, if it failed, its error."""
    return await service.get(owner, run_id)


@router.delete("/{run_id}", summary="Delete a run", status_code=204)
async def delete_run(run_id: RunIdPath, service: ServiceDep, owner: Owner) -> Response:
    """Delete a run that has ended, with its events and messages. A run that has not ended is a 409 error."""
    await service.delete(owner, run_id)
    return Response(status_code=204)


@router.get(
    "/{run_id}/events", summary="Read or follow a run's events", response_class=Response, responses=EVENTS_ANSWERS
)
async def run_events(
    request: Request,
    run_id: RunIdPath,
    after: Cursor,
    service: ServiceDep,
    owner: Owner,
    wait: Annotated[
        bool, Query(description="With `false`, return the events so far as JSON lines, for clients that poll.")
    ] = True,
    until: Until = None,
) -> Response:
    """Stream the run's events after the cursor, exactly as they were first sent, then new ones until `complete`."""
    if wait:
        stream = await service.follow(owner, run_id, after)
        return Response(status_code=204) if stream is None else frame_stream(request, stream, until)
    pages = await service.read(owner, run_id, after)
    if pages is None:
        return Response(status_code=204)
    return StreamingResponse(
        _json_lines(pages), media_type="application/x-ndjson", headers={"Cache-Control": "no-store"}
    )


@router.post("/{run_id}/token", summary="Get a token that reads a run", status_code=201)
async def create_run_token(
    request: Request, response: Response, run_id: RunIdPath, service: ServiceDep, caller: CallerDep
) -> RunToken:
    """Return a token that reads this run for ten minutes, for readers that can't set headers, such as EventSource.

    Send it as `?token=…` with GET requests to the run and its events. It ends with the API key.
    """
    await service.get(caller.owner, run_id)
    tokens: RunTokens = request.app.state.run_tokens
    response.headers["Cache-Control"] = "no-store"
    return tokens.issue(caller, run_id)


@router.post("/{run_id}/cancel", summary="Cancel a run", status_code=202)
async def cancel_run(run_id: RunIdPath, service: ServiceDep, owner: Owner) -> Run:
    """Cancel a run. Its stream ends with `complete` and status `cancelled`. A run that has ended does not change."""
    return await service.cancel(owner, run_id)


@router.post(
    "/{run_id}/approvals/{tool_call_id}",
    summary="Approve or refuse a tool call",
    status_code=202,
    response_model=Run,
    responses=ANSWERED,
)
async def decide_approval(
    request: Request,
    run_id: RunIdPath,
    tool_call_id: ToolCallIdPath,
    body: ApprovalDecision,
    after: Cursor,
    service: ServiceDep,
    owner: Owner,
) -> Run | Response:
    """Approve a tool call that waits for a decision, unchanged or with other arguments, or refuse it.

    The run resumes when every call that it waits for has an answer. Sending the same decision again has no effect. With
    `Accept: text/event-stream` the response is the run's event stream, as from `GET /runs/{run_id}/events`.
    """
    return await _answered(
        request, service, owner, run_id, after, partial(service.approve, owner, run_id, tool_call_id, body)
    )


@router.post(
    "/{run_id}/budget",
    summary="Raise a budget, or end the run",
    status_code=202,
    response_model=Run,
    responses=ANSWERED,
)
async def decide_budget(
    request: Request, run_id: RunIdPath, body: BudgetDecision, after: Cursor, service: ServiceDep, owner: Owner
) -> Run | Response:
    """Set new totals for a run whose budget is spent, above what is spent, so that it resumes; or refuse, to end it.

    A total that is left out stays as it is. Sending the same decision again has no effect. With
    `Accept: text/event-stream` the response is the run's event stream, as from `GET /runs/{run_id}/events`.
    """
    return await _answered(request, service, owner, run_id, after, partial(service.decide_budget, owner, run_id, body))


@router.post(
    "/{run_id}/tool-results",
    summary="Send the results of client tools",
    status_code=202,
    response_model=Run,
    responses=ANSWERED,
)
async def send_tool_results(
    request: Request, run_id: RunIdPath, body: ClientToolResults, after: Cursor, service: ServiceDep, owner: Owner
) -> Run | Response:
    """Send the results of `client_tools` calls. The run resumes when every call that it waits for has an answer.

    With `Accept: text/event-stream` the response is the run's event stream, as from `GET /runs/{run_id}/events`.
    """
    return await _answered(request, service, owner, run_id, after, partial(service.take_results, owner, run_id, body))


async def _answered(
    request: Request, service: AgentService, owner: str, run_id: str, after: int, answer: Callable[[], Awaitable[Run]]
) -> Run | Response:
    """Submit an answer to a waiting run. Respond with the run or, if the client accepts that, with its event stream.

    A page that left the stream when the run began to wait then needs one connection both to answer and to follow.
    """
    if not accepts_events(request.headers):
        return await answer()
    stream = await service.follow(owner, run_id, after)  # first: a refused cursor leaves the run without the answer
    await answer()
    return Response(status_code=204) if stream is None else frame_stream(request, stream)


async def _json_lines(pages: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(frames_in(pages)) as each:
        async for frames in each:
            yield b"".join(json_of(frame) + b"\n" for frame in frames)
