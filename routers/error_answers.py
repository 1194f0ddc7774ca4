"""Every error answer of the service has one body; these make it."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from errors import AgentStreamError, ErrorDetail, InternalError, InvalidRequest, MethodNotAllowed, RouteNotFound
from models import ErrorBody, ErrorInfo, FieldError

MAX_DETAILS = 20
BY_STATUS: dict[int, type[AgentStreamError]] = {404: RouteNotFound, 405: MethodNotAllowed}


def answer(error: AgentStreamError, request_id: str, run_id: str | None = None) -> JSONResponse:
    """The error as JSON, with its status and, where it has one, Retry-After in seconds."""
    info = ErrorInfo(
        code=error.code,
        message=error.message,
        retryable=error.retryable,
        request_id=request_id,
        run_id=run_id or error.run_id,
        details=[FieldError(loc=loc, message=message) for loc, message in error.details] or None,
    )
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONResponse(ErrorBody(error=info).model_dump(), error.status, headers)


def install(app: FastAPI) -> None:
    """Answer our errors, requests that don't validate, and the framework's own refusals in the one form."""

    @app.exception_handler(AgentStreamError)
    async def ours(request: Request, error: AgentStreamError) -> JSONResponse:
        return answer(error, request.state.request_id)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(InvalidRequest(details=_details(error)), request.state.request_id)

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> JSONResponse:
        known = BY_STATUS.get(error.status_code, InvalidRequest if error.status_code < 500 else InternalError)
        response = answer(known(), request.state.request_id)
        response.headers.update(error.headers or {})
        return response


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
            return ".".join([*_fields(loc[:-1]), str(loc[-1])])
        case _:
            return ".".join(_fields(loc))


def _fields(loc: tuple[int | str, ...]) -> list[str]:
    return [str(part) for part in loc if isinstance(part, int) or (part.isidentifier() and part != "str")]


def _message(kind: str, message: str) -> str:
    match kind:
        case "extra_forbidden":
            return "This field is not known: take it out, or see /docs for the names."
        case "json_invalid":
            return "The body is not JSON."
        case "union_tag_invalid":
            return "This type is not known: see /docs for those that are."
        case _:
            return message.removeprefix("Value error, ")
