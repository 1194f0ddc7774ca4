"""Failures of MCP servers: the codes of our own JSON-RPC errors, and how a failure reads in the log."""

import logging

from mcp import MCPError
from pydantic import ValidationError

from errors import AgentStreamError

NOT_TAKEN = -31001
"""The code of an error of ours: the request surely did not reach the server."""
LOST = -31002
"""… it may have reached the server, and the connection ended before the answer."""
UNREADABLE = -31003
"""… the server answered, with something that can't be read."""
UNAUTHORIZED = -31004
"""… the server wants an authorization."""


def first_of(error: BaseException) -> BaseException:
    """The exception, or the first that a group of them began with."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def is_unauthorized(error: BaseException) -> bool:
    """Whether a connection failed because the server wants an authorization."""
    first = first_of(error)
    status = getattr(getattr(first, "response", None), "status_code", None)
    return status in (401, 403) or (isinstance(first, MCPError) and first.code == UNAUTHORIZED)


def told(error: BaseException) -> str:
    """An error for the log: what began it, in words only where they hold no URL, whose query or user may be secret."""
    match error := first_of(error):
        case MCPError() | AgentStreamError() | OSError() | RuntimeError() | ValidationError():
            return repr(error)
        case _ if hasattr(error, "response"):
            return f"HTTP status {error.response.status_code}"
        case Exception(__cause__=BaseException() as cause) | Exception(args=[BaseException() as cause]):
            return told(cause)
        case _:
            return type(error).__name__


def _without_urls(record: logging.LogRecord) -> bool:
    """A record of the SDK's without what it says after a colon, which may be a URL, and with its exception as told."""
    record.msg, record.args = record.getMessage().partition(": ")[0], ()
    if record.exc_info and record.exc_info[1]:
        record.msg, record.exc_info = f"{record.msg}: {told(record.exc_info[1])}", None
    return True


for name in ("client", "mcp.client.sse", "mcp.client.stdio", "mcp.client.streamable_http"):
    logging.getLogger(name).addFilter(_without_urls)
