"""How responses leave a connection: refusals below the app, the close after a response, and HTTP/1.0's bodies."""

import asyncio
import sys
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from error_models import ErrorBody, ErrorInfo
from errors import AgentStreamError
from models import new_request_id


def refusal(error: AgentStreamError) -> bytes:
    """Return a whole HTTP response with the error body, for a request that never reaches the app."""
    request_id = new_request_id()
    info = ErrorInfo(code=error.code, message=error.message, retryable=error.retryable, request_id=request_id)
    body = ErrorBody(error=info).model_dump_json().encode()
    head = (
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nx-request-id: {request_id}\r\n"
        "connection: close\r\n\r\n"
    )
    return STATUS_LINE[error.status] + head.encode() + body


class ResponseTransport:
    """A connection's transport while a response is written to it. `close` calls the protocol, which may wait."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        # Bound methods, not forwarding ones: `write` is called for every token.
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class UnchunkedApp:
    """An app whose responses suit HTTP/1.0: a body without a length isn't chunked, but ends with the connection."""

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._has_no_length = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_unchunked(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._has_no_length = all(name.lower() != b"content-length" for name, _ in message["headers"])
                if self._has_no_length:
                    # uvicorn neither chunks a body that has a length nor lets it be longer, so it gets an endless one.
                    self._cycle.chunked_encoding = False
                    self._cycle.expected_content_length = sys.maxsize
            elif self._has_no_length and not message.get("more_body"):
                # The last piece has to complete the length, or uvicorn reports that the response is too short.
                self._cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, send_unchunked)
