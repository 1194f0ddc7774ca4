"""Pools the connections to all upstreams: limits their number, reuses fresh ones, and serves requests in order."""

import asyncio
import socket
import ssl
from collections import defaultdict
from typing import NamedTuple

import httpx
from aiohappyeyeballs import start_connection

from services.upstreams.http_connection import Connection, ResponseStream

CONNECT_TIMEOUT_S = 10.0
KEEPALIVE_S = 30.0  # servers usually close an idle connection later than that
NEXT_ADDRESS_S = 0.25  # after this the next address of a host is tried in parallel (RFC 8305)
PORTS = {"http": 80, "https": 443}
READ_EXTENSION = "agent_stream.read"


class Origin(NamedTuple):
    """The server that a connection leads to."""

    scheme: str
    host: str
    port: int


class PooledTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over `Connection`. The only deadline is CONNECT_TIMEOUT_S. Make it in a running loop.

    A request holds one of `max_connections` slots from its start until its response is closed. A response has its
    `ResponseStream.read` as the extension READ_EXTENSION.
    """

    def __init__(self, max_connections: int, ssl_context: ssl.SSLContext) -> None:
        self._max_connections = max_connections
        self._slots = asyncio.Semaphore(max_connections)
        self._ssl = ssl_context
        self._connecting = 0
        self._open: dict[Connection, Origin] = {}
        self._idle: defaultdict[Origin, dict[Connection, asyncio.TimerHandle]] = defaultdict(dict)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the response once its head has arrived, with its body unread. Raise `httpx.TransportError`."""
        url = request.url
        origin = Origin(url.scheme, url.raw_host.decode("ascii"), url.port or PORTS[url.scheme])
        message = _message(request)
        await self._slots.acquire()
        try:
            response = await self._ask(origin, message)
        except BaseException:
            self._slots.release()
            raise
        assert response.status is not None
        headers, response.headers = response.headers, []  # they may be 64 KiB; httpx keeps a copy
        return httpx.Response(
            response.status,
            headers=headers,
            stream=response,
            request=request,
            extensions={READ_EXTENSION: response.read},
        )

    async def aclose(self) -> None:
        """Close every connection. Responses under way break off."""
        for connection in list(self._open):
            connection.close()
        await asyncio.sleep(0)  # the event loop closes aborted sockets in its next turn

    async def _ask(self, origin: Origin, message: list[bytes]) -> ResponseStream:
        """Send over an idle connection, or over a new one if there is none or the idle one had died unnoticed."""
        if idle := self._idle[origin]:
            connection, timer = idle.popitem()
            timer.cancel()
            try:
                return await self._ask_over(connection, message)
            except httpx.TransportError:
                if not connection.silent:
                    raise
        return await self._ask_over(await self._connect(origin), message)

    async def _ask_over(self, connection: Connection, message: list[bytes]) -> ResponseStream:
        try:
            return await connection.ask(message)
        except BaseException:
            self._discard(connection)
            raise

    async def _connect(self, origin: Origin) -> Connection:
        self._connecting += 1
        self._make_room()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                connection = await self._new_connection(origin)
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"No connection within {CONNECT_TIMEOUT_S} s.") from error
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(str(error)) from error
        finally:
            self._connecting -= 1
        self._open[connection] = origin
        return connection

    async def _new_connection(self, origin: Origin) -> Connection:
        loop = asyncio.get_running_loop()
        secure = origin.scheme == "https"
        addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        sock = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1)
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._released, self._forget),
                sock=sock,
                ssl=self._ssl if secure else None,
                server_hostname=origin.host if secure else None,
            )
        except BaseException:
            sock.close()
            raise
        return connection

    def _make_room(self) -> None:
        """Close an idle connection if one more would exceed the limit."""
        if len(self._open) + self._connecting > self._max_connections:
            self._discard(next(connection for idle in self._idle.values() for connection in idle))

    def _released(self, connection: Connection, reusable: bool) -> None:
        if reusable:
            timer = asyncio.get_running_loop().call_later(KEEPALIVE_S, self._discard, connection)
            self._idle[self._open[connection]][connection] = timer
        else:
            self._forget(connection)
        self._slots.release()

    def _discard(self, connection: Connection) -> None:
        self._forget(connection)
        connection.close()

    def _forget(self, connection: Connection) -> None:
        """Remove a connection from the pool. Idempotent."""
        origin = self._open.pop(connection, None)
        if origin is not None and (timer := self._idle[origin].pop(connection, None)):
            timer.cancel()


def _message(request: httpx.Request) -> list[bytes]:
    """Write a request's head and body. Raise `httpx.LocalProtocolError` if a header contains a line break."""
    headers = request.headers.raw
    start = b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), request.url.raw_path)
    head = b"".join((start, *(b"%b: %b\r\n" % header for header in headers), b"\r\n"))
    # One CR and one LF for each header, the first line and the blank line. Any more would be a header of its own.
    if not head.count(b"\r") == head.count(b"\n") == len(headers) + 2:
        raise httpx.LocalProtocolError("A header's value has a line break.")
    return [head, request.content] if request.content else [head]
