"""Error responses: one JSON body on every route, or two frames where the client asked for a stream."""

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
from event_data import Complete
from routers.accept import prefers_json
from usage_models import NO_USAGE

MAX_DETAILS = 20
MAX_NAME = 100  # characters of a field's name in an error: a client can send a name of megabytes
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
STREAMING = {"/api/agent/stream", "/api/agent/stream/simulate"}  # POST to these returns a stream
BY_STATUS: dict[int, type[AgentStreamError]] = {404: RouteNotFound, 405: MethodNotAllowed}


def error_response(error: AgentStreamError, scope: Scope, run_id: str | None = None) -> Response:
    """Return the error as a response to the request of `scope`, with its status and, if it has one, Retry-After.

    A POST for a stream gets two frames, `error` and `complete`, unless its Accept header prefers JSON: a client that
    reads only `data: ` lines would not see a JSON body.
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
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if _wants_frames(scope):
        return Response(_frames(info), error.status, headers, media_type="text/event-stream")
    return JSONResponse(ErrorBody(error=info).model_dump(), error.status, headers)


def _wants_frames(scope: Scope) -> bool:
    """Whether the request is a POST for a stream, and does not ask for JSON instead."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if scope["method"] != "POST" or path not in STREAMING:
        return False
    return not prefers_json(Headers(scope=scope))


def _frames(info: ErrorInfo) -> str:
    """Return a refusal as the frames of a stream. They have no id, because there is no run to resume."""
    failed = Complete(status="failed", usage=NO_USAGE, steps=0, duration_ms=0)
    return _frame(RefusalError(event="error", data=info)) + _frame(RefusalComplete(event="complete", data=failed))


def _frame(event: RefusalEvent) -> str:
    return f"event: {event.event}\ndata: {json.dumps(event.model_dump(), separators=(',', ':'))}\n\n"


def install(app: FastAPI) -> None:
    """Answer our errors, requests that don't validate, and the framework's own refusals in the one form."""

    @app.exception_handler(AgentStreamError)
    async def ours(request: Request, error: AgentStreamError) -> Response:
        return error_response(error, request.scope)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return error_response(InvalidRequest(details=_details(error)), request.scope)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> Response:
        known = BY_STATUS.get(error.status_code, InvalidRequest if error.status_code < 500 else InternalError)
        response = error_response(known(), request.scope)
        response.headers.update(error.headers or {})
        if error.status_code == 405:
            response.headers["Allow"] = ", ".join(_methods_of(request))
        return response


def _methods_of(request: Request) -> list[str]:
    """Return the methods that the request's path supports. The framework names only those of its first route."""
    routes = request.app.routes
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    return [method for method in METHODS if any(route.matches(scopes[method])[0] is Match.FULL for route in routes)]


def _details(error: RequestValidationError) -> list[ErrorDetail]:
    """Return the location and message of each validation error, without the value that was sent."""
    details = [ErrorDetail(_location(e["type"], e["loc"]), _message(e["type"], e["msg"])) for e in error.errors()]
    return list(dict.fromkeys(details))[:MAX_DETAILS]  # branches of a union repeat them


def _location(kind: str, loc: tuple[int | str, ...]) -> str:
    """Return the path of a field, without the type names that pydantic adds for the branches of a union."""
    match kind:
        case "json_invalid":
            return "body"  # the rest of `loc` is the offset of the syntax error
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
            return "Unknown field. Check its spelling (see /docs) or leave it out."
        case "json_invalid":
            return "The body is not valid JSON."
        case "union_tag_invalid":
            return "Unknown type. See /docs for the types that are supported."
        case _:
            return message.removeprefix("Value error, ")
