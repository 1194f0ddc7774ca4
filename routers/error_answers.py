"""Error answers: one JSON body on every route, and two frames where a stream was asked for."""

import json

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from error_models import ErrorBody, ErrorInfo, FieldError, RefusalComplete, RefusalError, RefusalEvent
from errors import AgentStreamError, ErrorDetail, InternalError, InvalidRequest, MethodNotAllowed, RouteNotFound
from events import NO_USAGE, Complete

MAX_DETAILS = 20
MAX_NAME = 100  # characters of a field's name that a fault shows: a caller may have named it with megabytes
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
STREAMING = {"/api/agent/stream", "/api/agent/stream/simulate"}  # POST to these answers a stream
BY_STATUS: dict[int, type[AgentStreamError]] = {404: RouteNotFound, 405: MethodNotAllowed}


def answer(error: AgentStreamError, scope: Scope, run_id: str | None = None) -> Response:
    """The error as an answer to the request of `scope`, with its status and, where it has one, Retry-After.

    A POST that asks for a stream gets two frames, `error` and `complete`, unless its Accept header asks for JSON:
    clients that read only `data: ` lines would see nothing of a JSON body.
    """
    info = ErrorInfo(
        code=error.code,
        message=error.message,
        retryable=error.retryable,
        request_id=scope["state"]["request_id"],
        retry_after=error.retry_after,
        run_id=run_id or error.run_id,
        details=[FieldError(loc=loc, message=message) for loc, message in error.details] or None,
    )
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if _wants_frames(scope):
        return Response(_frames(info), error.status, headers, media_type="text/event-stream")
    return JSONResponse(ErrorBody(error=info).model_dump(), error.status, headers)


def _wants_frames(scope: Scope) -> bool:
    """Whether the request is a POST for a stream, and does not ask for JSON instead."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if scope["method"] != "POST" or path not in STREAMING:
        return False
    accepted = ",".join(Headers(scope=scope).getlist("accept")).lower().split(",")
    named = {media_type.partition(";")[0].strip() for media_type in accepted}
    return "text/event-stream" in named or "application/json" not in named


def _frames(info: ErrorInfo) -> str:
    """A refusal as the frames of a stream. They have no id, since there is no run to resume."""
    failed = Complete(status="failed", usage=NO_USAGE, steps=0, duration_ms=0)
    return _frame(RefusalError(event="error", data=info)) + _frame(RefusalComplete(event="complete", data=failed))


def _frame(event: RefusalEvent) -> str:
    return f"event: {event.event}\ndata: {json.dumps(event.model_dump(), separators=(',', ':'))}\n\n"


def install(app: FastAPI) -> None:
    """Answer our errors, requests that don't validate, and the framework's own refusals in the one form."""

    @app.exception_handler(AgentStreamError)
    async def ours(request: Request, error: AgentStreamError) -> Response:
        return answer(error, request.scope)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer(InvalidRequest(details=_details(error)), request.scope)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        known = BY_STATUS.get(error.status_code, InvalidRequest if error.status_code < 500 else InternalError)
        response = answer(known(), request.scope)
        response.headers.update(error.headers or {})
        if error.status_code == 405:
            response.headers["Allow"] = ", ".join(_methods_of(request))
        return response


def _methods_of(request: Request) -> list[str]:
    """The methods that the request's path takes: the framework names those of one of its routes."""
    routes = request.app.routes
    asked = {method: {**request.scope, "method": method} for method in METHODS}
    return [method for method in METHODS if any(route.matches(asked[method])[0] is Match.FULL for route in routes)]


def _details(error: RequestValidationError) -> list[ErrorDetail]:
    """Where and what, without the value that was sent."""
    faults = [ErrorDetail(_location(e["type"], e["loc"]), _message(e["type"], e["msg"])) for e in error.errors()]
    return list(dict.fromkeys(faults))[:MAX_DETAILS]


def _location(kind: str, loc: tuple[int | str, ...]) -> str:
    """The path of a field, without the names of types that pydantic adds for the branches of a union."""
    match kind:
        case "json_invalid":
            return "body"  # what follows is where the JSON is broken, as a character's number
        case "extra_forbidden":
            return ".".join([*_fields(loc[:-1]), str(_shown(loc[-1]))])
        case _:
            return ".".join(_fields(loc))


def _fields(loc: tuple[int | str, ...]) -> list[str]:
    parts = map(_shown, loc)
    return [str(part) for part in parts if isinstance(part, int) or (part.isidentifier() and part != "str")]


def _shown(part: int | str) -> int | str:
    return part if isinstance(part, int) else part[:MAX_NAME]


def _message(kind: str, message: str) -> str:
    match kind:
        case "extra_forbidden":
            return "This field is not known: check its spelling against /docs, or leave it out."
        case "json_invalid":
            return "The body is not JSON."
        case "union_tag_invalid":
            return "This type is not known: see /docs for those that are."
        case _:
            return message.removeprefix("Value error, ")
