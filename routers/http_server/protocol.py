"""The server's side of a connection: uvicorn's protocol, with limits on what one client can occupy.

uvicorn limits none of these: the size of a request's head (parsing costs the square of it), the time that a head takes
to arrive, and the number of connections that send nothing. It also sends chunks to HTTP/1.0 clients, which don't know
them, and loses the body of a request that offers an upgrade to another protocol.
"""

import asyncio
from itertools import islice
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from errors import AgentStreamError, HeadTooLarge, MalformedRequest, RequestTimeout
from routers.http_server.flow import HoldableFlow
from routers.http_server.responses import ResponseTransport, UnchunkedApp, refusal

MAX_HEAD_BYTES = 64 * 1024
MAX_FIELDS = 200  # header fields of a request; browsers and proxies send about 30
PARSED_AT_ONCE = 32 * 1024  # bytes; parsing 256 kB of one-byte chunks in one piece would take 50 ms
MAX_PIPELINED = 16  # requests without a response yet; clients in common use don't pipeline at all
SPARE = 32  # connections above the limit, so that health checks still get one
LINGER_S = 2.0  # how long a client that is still sending has to read its refusal
CROWDED = "crowded"
"""The key of a request's state that says whether more connections are in use than MAX_CONNECTIONS allows."""


class Connections:
    """The limits of all connections, and those without a request under way, the longest idle first."""

    def __init__(self, most: int, head_timeout_s: float) -> None:
        self.most = most
        self.head_timeout_s = head_timeout_s
        self.idle: dict[LimitedProtocol, None] = {}


class LimitedProtocol(HttpToolsProtocol):
    """One connection. Limits the time and size of each head. Closes idle connections when there are too many."""

    def __init__(self, limits: Connections, config: Config, server_state: ServerState, **more: Any) -> None:
        super().__init__(config, server_state, **more)
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_head = False
        self._offers_upgrade = False
        self._fed = 0  # bytes of the head, except those in the read in which it began
        self._head_bytes = self._fields = 0
        self._unanswered = 0  # requests without a complete response; more than one if the client pipelines
        self._answering: RequestResponseCycle | None = None  # the first of them
        self._refused = False
        self._unparsed = bytearray()

    # The connection's life

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head. If there are too many connections, close the longest idle ones, or else this one."""
        super().connection_made(transport)
        self.flow = self._flow = HoldableFlow(transport)
        self._head_timer = self.loop.call_later(self._limits.head_timeout_s, self._head_is_late)
        # It counts as idle two turns later, when the loop has read from it once. Otherwise a flood of connections would
        # close its own ones before their requests were read.
        self.loop.call_soon(self.loop.call_soon, self._become_idle)
        excess = len(self.connections) - self._limits.most - SPARE
        if excess > 0:
            for connection in [*islice(self._limits.idle, excess)] or [self]:
                connection.give_way()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer and report the disconnect to the app."""
        self._stop_waiting()
        self._disconnect_request()
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Close this connection, which has no request under way."""
        self._stop_waiting()
        self.connections.discard(self)
        self.transport.abort()

    def _become_idle(self) -> None:
        if self._head_timer is not None and not self.transport.is_closing():
            self._limits.idle[self] = None

    def _await_head(self) -> None:
        self._limits.idle[self] = None
        self._head_timer = self.loop.call_later(self._limits.head_timeout_s, self._head_is_late)

    def _stop_waiting(self) -> None:
        self._limits.idle.pop(self, None)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if self._in_head:
            self._refuse(RequestTimeout())
        else:
            self.transport.close()

    # A request's head, as it is parsed

    def data_received(self, data: bytes) -> None:
        """Parse the received bytes in pieces of `PARSED_AT_ONCE`, a turn of the event loop each."""
        self._unparsed += data
        if not self._flow.held:
            self._parse_some()

    def _parse_some(self) -> None:
        self._unset_keepalive_if_required()  # as uvicorn's `data_received` does
        data = bytes(self._unparsed[:PARSED_AT_ONCE])
        del self._unparsed[:PARSED_AT_ONCE]
        self._parse(data)
        if self._refused or self.transport.is_closing():
            self._unparsed.clear()
        if self._unparsed:
            self._flow.hold()
            self.loop.call_soon(self._parse_some)
        else:
            self._flow.release()

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
            self._decline_upgrade(data[offer.args[0] :])

    def _decline_upgrade(self, body: bytes) -> None:
        """Parse the request again without its Upgrade field, because the parser stops before the body of an upgrade.

        A server may ignore the offer of an upgrade (RFC 9110, section 7.8). Java's HttpClient makes one in its first
        request.
        """
        if self._refused or self.transport.is_closing():
            return
        line = (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = b"".join(b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn sets its own parser
        self._feed(b"%b %b HTTP/%b\r\n" % line + fields + b"\r\n" + body)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True
        self._offers_upgrade = False
        self._fed = self._head_bytes = self._fields = 0

    def on_url(self, url: bytes) -> None:
        """Count a piece of the URL."""
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head. Fields after the body are counted and dropped: the app has the headers already."""
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        self._fields += 1
        if self._in_head and not self._head_is_too_large:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, unless its head has to be refused."""
        self._offers_upgrade = self.parser.should_upgrade()
        if self._offers_upgrade and self.parser.get_method() != b"CONNECT":
            return  # `_decline_upgrade` parses this head again
        self._in_head = False
        self._stop_waiting()
        if self._refused or self._head_is_too_large:
            self._refuse(HeadTooLarge())
            return
        if self._unanswered >= MAX_PIPELINED or self._offers_upgrade:  # here, an upgrade is a CONNECT
            self._refuse(MalformedRequest())
            return
        self._unanswered += 1
        super().on_headers_complete()

    @property
    def _head_is_too_large(self) -> bool:
        return self._head_bytes > MAX_HEAD_BYTES or self._fields > MAX_FIELDS

    # The request

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Complete the request."""
        if self._head_is_too_large:  # by its trailing fields: the app has the request already
            self.transport.abort()
        elif not (self._refused or self._offers_upgrade):
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        cycle.transport = cast(asyncio.Transport, ResponseTransport(self.transport, self._close_answered))
        state: dict[str, Any] = cycle.scope["state"]
        state[CROWDED] = len(self.connections) - len(self._limits.idle) > self._limits.most
        if cycle.scope["http_version"] == "1.0":
            app = UnchunkedApp(app, cycle)
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Wait for the next head. The rest of a refused body has to arrive in the same time."""
        self._unanswered -= 1
        super().on_response_complete()
        if not self._unanswered and not self.transport.is_closing():
            self._await_head()

    def _close_answered(self) -> None:
        """Close after a response. If the request is still arriving, first let the client read the response."""
        if self._answering is not None and self._answering.response_complete and self._answering.more_body:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close later, and drop what arrives until then.

        To close at once would reset the connection, and the client would lose the response.
        """
        self._refused = True
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def _disconnect_request(self) -> None:
        """Report the disconnect to the request under way: uvicorn reports it to the latest request only."""
        if (cycle := self._answering) is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    # Refusals

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in the form of all refusals."""
        self._refuse(MalformedRequest())

    def _refuse(self, error: AgentStreamError) -> None:
        """Send the error and close once the client can have read it. Abort if another response is due before it."""
        self._stop_waiting()
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._disconnect_request()
        if self._unanswered > 1 or (self._unanswered and self._response_has_begun):
            self.transport.abort()
            return
        self.transport.write(refusal(error))
        self._linger()

    @property
    def _response_has_begun(self) -> bool:
        return self._answering is not None and self._answering.response_started
