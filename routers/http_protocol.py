"""The server's side of a connection: uvicorn's protocol, with bounds on what a client can hold and keep busy.

uvicorn has a limit for none of these: the size of a request's head, which costs the square of its size, the time that a
head takes, and the connections that have sent none. It also sends chunks to HTTP/1.0, which doesn't know them, and it
loses the body of a request that offers another protocol.
"""

import asyncio
import sys
from collections.abc import Callable
from itertools import islice
from typing import Any, cast

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from error_models import ErrorBody, ErrorInfo
from errors import AgentStreamError, HeadTooLarge, MalformedRequest, RequestTimeout
from models import new_request_id

MAX_HEAD_BYTES = 64 * 1024
MAX_FIELDS = 200  # of a head; browsers and proxies send some 30
PARSED_AT_ONCE = 32 * 1024  # bytes
MAX_PIPELINED = 16  # requests of a client that doesn't wait for the answers; no client in use sends several
SPARE = 32  # connections beyond the most, so that there is one to answer a health check on
LINGER_S = 2.0  # how long a client that is still sending has to read why it is refused
CROWDED = "crowded"
"""The key of a request's state that says whether more connections are in use than there may be."""


class Connections:
    """How many connections there may be, and those without a request under way, the longest silent first."""

    def __init__(self, most: int, head_timeout_s: float) -> None:
        self.most = most
        self.head_timeout_s = head_timeout_s
        self.idle: dict[LimitedProtocol, None] = {}


class Reading(FlowControl):
    """A connection's flow control, which reads nothing while it is held, whatever else wants."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.held = False

    def resume_reading(self) -> None:
        """Read on, once it isn't held any more."""
        if self.held:
            self.read_paused = False
        else:
            super().resume_reading()

    def hold(self) -> None:
        """Read nothing until it is released."""
        if not self.held:
            self.held = True
            self._transport.pause_reading()

    def release(self) -> None:
        """Read on, unless something else has paused it."""
        if self.held:
            self.held = False
            if not self.read_paused and not self._transport.is_closing():
                self._transport.resume_reading()


class LimitedProtocol(HttpToolsProtocol):
    """One connection. Each head has to be complete within a time, and below a size; silent connections make room."""

    def __init__(self, limits: Connections, config: Config, server_state: ServerState, **more: Any) -> None:
        super().__init__(config, server_state, **more)
        self._limits = limits
        self._late: asyncio.TimerHandle | None = None
        self._in_head = self._offers = False  # whether the request offers another protocol
        self._fed = 0  # bytes since the read in which the head began
        self._head_bytes = self._fields = 0
        self._unanswered = 0  # requests; more than one where a client doesn't wait for the answers
        self._answering: RequestResponseCycle | None = None  # the first of them
        self._refused = False
        self._unparsed = bytearray()

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Await a head, and make room for this connection where there is none.

        It counts as silent once the event loop has had a turn to read from it, so that a flood doesn't close its own
        connections before each has been answered.
        """
        super().connection_made(transport)
        self.flow = self._reading = Reading(transport)
        self._late = self.loop.call_later(self._limits.head_timeout_s, self._head_is_late)
        self.loop.call_soon(self.loop.call_soon, self._fall_silent)
        if (excess := len(self.connections) - self._limits.most - SPARE) > 0:
            for giving_way in [*islice(self._limits.idle, excess)] or [self]:
                giving_way.give_way()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_waiting()
        self._give_up_request()
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Close a connection on which nothing is under way."""
        self._stop_waiting()
        self.connections.discard(self)
        self.transport.abort()

    def _fall_silent(self) -> None:
        if self._late is not None and not self.transport.is_closing():
            self._limits.idle[self] = None

    def _await_head(self) -> None:
        self._limits.idle[self] = None
        self._late = self.loop.call_later(self._limits.head_timeout_s, self._head_is_late)

    def _stop_waiting(self) -> None:
        self._limits.idle.pop(self, None)
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _head_is_late(self) -> None:
        if self._in_head:
            self._refuse(RequestTimeout())
        else:
            self.transport.close()

    # A request's head, as it is parsed

    def data_received(self, data: bytes) -> None:
        """Parse what has come, a little at a time: 256 kB of chunks of one byte take 50 ms."""
        self._unparsed += data
        if not self._reading.held:
            self._parse_some()

    def _parse_some(self) -> None:
        self._unset_keepalive_if_required()  # as `data_received` of uvicorn does: the connection is not silent
        data = bytes(self._unparsed[:PARSED_AT_ONCE])
        del self._unparsed[:PARSED_AT_ONCE]
        self._parse(data)
        if self._refused or self.transport.is_closing():
            self._unparsed.clear()  # it is thrown away
        if self._unparsed:
            self._reading.hold()
            self.loop.call_soon(self._parse_some)
        else:
            self._reading.release()

    def _parse(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        began_before = self._in_head
        self._feed(data)
        if began_before and self._in_head:
            self._fed += len(data)
            if self._fed > MAX_HEAD_BYTES:
                self._refuse(HeadTooLarge())

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(MalformedRequest())
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])

    def _decline(self, rest: bytes) -> None:
        """Parse the request once more, without its offer of another protocol: the parser has left its body unread.

        A server may ignore an offer (RFC 9110, section 7.8). Java's HttpClient makes one in its first request.
        """
        if self._refused or self.transport.is_closing():
            return
        line = (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = b"".join(b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's first parser
        self._feed(b"%b %b HTTP/%b\r\n" % line + fields + b"\r\n" + rest)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head, self._offers = True, False
        self._fed = self._head_bytes = self._fields = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the URL."""
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; those that trail the body are dropped, since the head has been acted upon."""
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        self._fields += 1
        if self._in_head and not self._head_is_too_large:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: begin with the request."""
        self._offers = self.parser.should_upgrade()
        if self._offers and self.parser.get_method() != b"CONNECT":
            return
        self._in_head = False
        self._stop_waiting()
        if self._refused or self._head_is_too_large:
            self._refuse(HeadTooLarge())
            return
        if self._unanswered >= MAX_PIPELINED or self._offers:  # a tunnel, by CONNECT
            self._refuse(MalformedRequest())
            return
        self._unanswered += 1
        super().on_headers_complete()

    @property
    def _head_is_too_large(self) -> bool:
        return self._head_bytes > MAX_HEAD_BYTES or self._fields > MAX_FIELDS

    # The request

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._head_is_too_large:  # by its trailing fields, where it wasn't before
            self.transport.abort()
        elif not (self._refused or self._offers):
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        cycle.transport = cast(asyncio.Transport, Answered(self.transport, self._close_answered))
        state: dict[str, Any] = cycle.scope["state"]
        state[CROWDED] = len(self.connections) - len(self._limits.idle) > self._limits.most
        if cycle.scope["http_version"] == "1.0":
            app = Unchunked(app, cycle)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Await the next head. What is left of a refused body has to come in the same time."""
        self._unanswered -= 1
        super().on_response_complete()
        if not self._unanswered and not self.transport.is_closing():
            self._await_head()

    def _close_answered(self) -> None:
        """Close after an answer; where the request is still coming, once its client can have read that."""
        if self._answering is not None and self._answering.response_complete and self._answering.more_body:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Send no more, and drop what still comes: to close at once would reset the connection, and lose the answer."""
        self._refused = True
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def _give_up_request(self) -> None:
        """Tell the app that the client of the request under way has left: uvicorn tells the latest request's alone."""
        if (cycle := self._answering) is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    # Refusals

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the form of all refusals."""
        self._refuse(MalformedRequest())

    def _refuse(self, error: AgentStreamError) -> None:
        """Answer with the error, unless another answer comes first, and close once the client can have read it."""
        self._stop_waiting()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._give_up_request()
        if self._unanswered > 1 or (self._unanswered and self._answer_has_begun):
            self.transport.abort()
            return
        self.transport.write(_answer(error))
        self._linger()

    @property
    def _answer_has_begun(self) -> bool:
        return self._answering is not None and self._answering.response_started


def _answer(error: AgentStreamError) -> bytes:
    request_id = new_request_id()
    info = ErrorInfo(code=error.code, message=error.message, retryable=error.retryable, request_id=request_id)
    body = ErrorBody(error=info).model_dump_json().encode()
    head = (
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nx-request-id: {request_id}\r\n"
        "connection: close\r\n\r\n"
    )
    return STATUS_LINE[error.status] + head.encode() + body


class Answered:
    """A connection's transport as one request's answer is written to it: to close it is the connection's to decide."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class Unchunked:
    """An app as HTTP/1.0 gets its answers: a body without a length has no chunks, and ends with the connection."""

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._endless = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_unchunked(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._endless = all(name.lower() != b"content-length" for name, _ in message["headers"])
                if self._endless:
                    self._cycle.chunked_encoding, self._cycle.expected_content_length = False, sys.maxsize
            elif self._endless and not message.get("more_body"):
                self._cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, send_unchunked)
