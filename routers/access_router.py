"""Routes of /api/agent/me, /keys and /callers: the caller of a request, and for admins the keys and data of callers."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse

from access_models import ApiKey, ApiKeyList, CallerInfo, KeyCreate, KeyRotation, NewApiKey, OwnerId
from routers.dependencies import ApiKeysDep, CallerDataDep, CallerDep, Limit, PageCursor
from routers.json_route import JsonRoute
from routers.openapi import ERRORS

router = APIRouter(prefix="/api/agent", tags=["access"], responses=ERRORS, route_class=JsonRoute)

KeyIdPath = Annotated[str, Path(description="The beginning of the key, up to its second underscore.", max_length=64)]
OwnerFilter = Annotated[OwnerId | None, Query(description="Return only keys of this owner.")]
OwnerPath = Annotated[OwnerId, Path(description="The owner of the keys, runs and sessions.")]
NOT_STORED = {"Cache-Control": "no-store"}
EXPORTED: dict[int | str, dict[str, Any]] = {
    200: {"description": "All that the caller has, as JSON lines.", "content": {"application/x-ndjson": {}}}
}


@router.get("/me", summary="Get the caller of this request")
async def me(caller: CallerDep) -> CallerInfo:
    """Return the owner of what this caller makes, and what its API key allows."""
    models = None if caller.models is None else list(caller.models)
    return CallerInfo(
        owner=caller.owner, scopes=sorted(caller.scopes), models=models, key_id=caller.key_id, admin=caller.admin
    )


@router.post("/keys", summary="Create an API key", status_code=201)
async def create_key(body: KeyCreate, keys: ApiKeysDep, response: Response) -> NewApiKey:
    """Create an API key for an owner. The response has the key, which can't be shown again."""
    response.headers.update(NOT_STORED)
    return await keys.create(body)


@router.get("/keys", summary="List API keys")
async def list_keys(
    keys: ApiKeysDep, owner: OwnerFilter = None, cursor: PageCursor = None, limit: Limit = 50
) -> ApiKeyList:
    """Return the API keys, the latest first: of one owner, or of all. Those in API_KEYS aren't listed."""
    return await keys.page(owner, cursor, limit)


@router.delete("/keys/{key_id}", summary="Revoke an API key")
async def revoke_key(key_id: KeyIdPath, keys: ApiKeysDep) -> ApiKey:
    """Revoke an API key. Every process of the service refuses it within 5 seconds, and ends its streams.

    The runs that it has started go on.
    """
    return await keys.revoke(key_id)


@router.post("/keys/{key_id}/rotate", summary="Replace an API key", status_code=201)
async def rotate_key(key_id: KeyIdPath, body: KeyRotation, keys: ApiKeysDep, response: Response) -> NewApiKey:
    """Create an API key with the rights of this one, which is revoked, at once or after `overlap_s`."""
    response.headers.update(NOT_STORED)
    return await keys.rotate(key_id, body)


@router.get("/callers/{owner}/export", summary="Export a caller's data", response_class=Response, responses=EXPORTED)
async def export_caller(owner: OwnerPath, data: CallerDataDep) -> Response:
    """Return all that a caller has as JSON lines: its keys, sessions, messages, runs and their events.

    Each line has a `kind` and a `value`. The last line has the kind `end`: without it, the export was cut.
    """
    return StreamingResponse(data.export(owner), media_type="application/x-ndjson", headers=NOT_STORED)


@router.delete("/callers/{owner}", summary="Delete a caller's data", status_code=204)
async def delete_caller(owner: OwnerPath, data: CallerDataDep) -> Response:
    """Revoke a caller's API keys, cancel its runs, and delete all that it has: runs, events, sessions and messages."""
    await data.delete(owner)
    return Response(status_code=204)
