"""Servers of scripted bytes, and guarded clients for them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import trustme

from services.outbound.client import GuardedClient
from services.outbound.url_guard import UrlGuard

HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
AUTHORITY = trustme.CA()
LOOPBACK = ("127.0.0.0/8",)


class Connection:
    """The server's end of one connection, with the heads of the requests received over it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.heads: list[str] = []
        self.gone = asyncio.Event()

    async def request(self) -> str:
        self.heads.append((await self.reader.readuntil(b"\r\n\r\n")).decode())
        return self.heads[-1]

    async def say(self, data: bytes) -> None:
        if self.writer.transport.is_closing():  # where uvloop's transport raises RuntimeError
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()


Talk = Callable[[Connection], Awaitable[None]]


class Server:
    """A server of scripted answers on a port of 127.0.0.1."""

    def __init__(self, talk: Talk, port: int = 0) -> None:
        self.talk, self.port = talk, port
        self.connections: list[Connection] = []
        self.names: list[str | None] = []

    @property
    def heads(self) -> list[str]:
        return [head for connection in self.connections for head in connection.heads]

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self.connections.append(connection)
        try:
            await self.talk(connection)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            connection.gone.set()
            writer.close()

    def knows(self, tls: ssl.SSLContext) -> ssl.SSLContext:
        """Record the names that TLS clients ask for."""
        tls.sni_callback = lambda _socket, name, _context: self.names.append(name)
        return tls


def always(answer: bytes) -> Talk:
    """Answer each request of a connection in the same way."""

    async def talk(connection: Connection) -> None:
        while await connection.request():
            await connection.say(answer)

    return talk


def once(answer: bytes) -> Talk:
    """Answer one request, and close the connection."""

    async def talk(connection: Connection) -> None:
        await connection.request()
        await connection.say(answer)

    return talk


def redirects(places: Mapping[str, str]) -> Talk:
    """Redirect each of these paths to its target; say hello elsewhere."""

    async def talk(connection: Connection) -> None:
        while head := await connection.request():
            target = places.get(head.split()[1].strip("/"))
            found = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
            await connection.say(found if target else HELLO)

    return talk


@asynccontextmanager
async def serving(talk: Talk, certificate: str | None = None) -> AsyncIterator[Server]:
    server, tls = Server(talk), None
    if certificate:
        tls = server.knows(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        AUTHORITY.issue_cert(certificate).configure_cert(tls)
    listening = await asyncio.start_server(server, "127.0.0.1", ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for connection in server.connections:
            connection.writer.transport.abort()
            await connection.gone.wait()


class Names:
    """A resolver that returns one answer after the other, and then always the last one."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked.append(name)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def client(names: Names | None = None, allowed: Sequence[str] = LOOPBACK) -> AsyncIterator[GuardedClient]:
    """A client that trusts the tests' authority. By default each name resolves to 127.0.0.1, which is allowed."""
    tls = ssl.create_default_context()
    AUTHORITY.configure_trust(tls)
    async with GuardedClient(UrlGuard(allowed, (), names or Names(["127.0.0.1"])), verify=tls) as made:
        yield made


def at(server: Server, path: str = "/", host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.port}{path}"
