"""/api/agent/runs: look at a run, follow its events from anywhere, cancel it."""

from fastapi import APIRouter, Request, Response

from models import Run
from routers.dependencies import Cursor, ServiceDep, frame_stream
from routers.openapi import ERRORS, STREAM

router = APIRouter(prefix="/api/agent/runs", tags=["runs"], responses=ERRORS)


@router.get("/{run_id}")
async def get_run(run_id: str, service: ServiceDep) -> Run:
    """How a run stands."""
    return await service.get(run_id)


@router.get(
    "/{run_id}/events",
    response_class=Response,
    responses=STREAM | {204: {"description": "The run has ended and nothing is left after the cursor."}},
)
async def run_events(request: Request, run_id: str, after: Cursor, service: ServiceDep) -> Response:
    """The run's events after a cursor, byte for byte as they were first sent, and then live until `complete`."""
    stream = await service.follow(run_id, after)
    return Response(status_code=204) if stream is None else frame_stream(request, stream)


@router.post("/{run_id}/cancel", status_code=202)
async def cancel_run(run_id: str, service: ServiceDep) -> Run:
    """Ask a run to end: `complete` with status `cancelled` follows on its stream. One that has ended stays so."""
    return await service.cancel(run_id)
