"""Names what can fail in a session with an MCP server, and describes failures for the log.

The SDK reports every failure of a request as a JSON-RPC error. Failures that this service finds itself become JSON-RPC
errors with codes of its own, so both take one way.
"""

import logging

from mcp import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST
from pydantic import ValidationError

from errors import AgentStreamError

NOT_DELIVERED = -31001
"""A code of this service: the request certainly did not reach the server."""
CONNECTION_LOST = -31002
"""The request may have reached the server, and the connection ended before the answer."""
UNREADABLE = -31003
"""The server answered, and the answer can't be read."""
UNAUTHORIZED = -31004
"""The server asks for authorization."""

SDK_LOGGERS = ("client", "mcp.client.sse", "mcp.client.stdio", "mcp.client.streamable_http")


class SessionLost(Exception):
    """The session ended before a request was answered. `delivered` is false if it certainly didn't reach the server."""

    def __init__(self, *, delivered: bool) -> None:
        super().__init__()
        self.delivered = delivered


def root_error(error: BaseException) -> BaseException:
    """Return the exception, or the first one of a group, whose other members follow from it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def is_unauthorized(error: BaseException) -> bool:
    """Return whether a connection failed because the server asks for authorization."""
    root = root_error(error)
    status = getattr(getattr(root, "response", None), "status_code", None)
    return status in (401, 403) or (isinstance(root, MCPError) and root.code == UNAUTHORIZED)


def is_connection_lost(error: BaseException) -> bool:
    """Return whether the connection ended.

    The code alone doesn't show it: servers use the SDK's CONNECTION_CLOSED (-32000) for their own errors, too.
    """
    if not isinstance(error, MCPError):
        return False
    has_ended = error.message == "Connection closed" or error.message.startswith("SSE stream")
    return error.code == CONNECTION_LOST or (error.code == CONNECTION_CLOSED and has_ended) or is_undelivered(error)


def is_undelivered(error: BaseException) -> bool:
    """Return whether the server didn't get the request, or has forgotten the session, as after a restart."""
    if not isinstance(error, MCPError):
        return False
    is_forgotten = error.code == INVALID_REQUEST and error.message == "Session terminated"  # the SDK's words for a 404
    return error.code == NOT_DELIVERED or is_forgotten


def describe_error(error: BaseException) -> str:
    """Describe an error for the log.

    Only types whose texts hold no URL are quoted: a URL's query or user may be secret. Others are named by their type,
    by the HTTP status or by their cause.
    """
    match root := root_error(error):
        case MCPError() | AgentStreamError() | OSError() | RuntimeError() | ValidationError():
            return repr(root)
        case _ if hasattr(root, "response"):
            return f"HTTP status {root.response.status_code}"
        case Exception(__cause__=BaseException() as cause) | Exception(args=[BaseException() as cause]):
            return describe_error(cause)
        case _:
            return type(root).__name__


def hide_urls_in_sdk_logs() -> None:
    """Keep URLs out of the SDK's log lines. Calling this again changes nothing."""
    for name in SDK_LOGGERS:
        logging.getLogger(name).addFilter(_without_urls)


def _without_urls(record: logging.LogRecord) -> bool:
    """Cut a record of the SDK at its first colon, behind which it may quote a URL, and describe its exception."""
    record.msg, record.args = record.getMessage().partition(": ")[0], ()
    if record.exc_info and record.exc_info[1]:
        record.msg, record.exc_info = f"{record.msg}: {describe_error(record.exc_info[1])}", None
    return True
