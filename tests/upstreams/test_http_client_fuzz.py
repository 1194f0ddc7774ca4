"""The HTTP/1.1 client reads generated responses as httpx's own transport does, and no response leaks a connection."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.upstreams.http_connection import MAX_UNREAD
from services.upstreams.http_pool import PooledTransport

pytestmark = pytest.mark.anyio

DEADLINE_S = 20  # for one exchange; only one that hangs takes longer
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
HELLO = HEAD + b"Content-Length: 5\r\n\r\nhello"


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Each test runs on both event loops: their transports are not the same."""
    return "asyncio", {"use_uvloop": request.param}


# A server that plays scripts


@dataclass(frozen=True)
class Script:
    """The bytes of one response, in the pieces in which they are sent.

    The server may close the connection afterwards.
    """

    pieces: tuple[bytes, ...]
    closes: bool = False


class Server:
    """Answers a request for /n with the script of that number, over any connection."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        self._scripts = scripts
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.accepted = 0
        self.port = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        self.accepted += 1
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has left
        finally:
            del self._open[task]
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            script = self._scripts[int(request[len(b"GET /") :].partition(b" ")[0])]
            for piece in script.pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)  # lets the client run, so that it reads this piece alone
            if script.closes:
                writer.write_eof()
                await reader.read()
                return

    async def at_most_open(self, count: int) -> None:
        """Return when the clients have at most this many connections open."""
        while len(self._open) > count:
            await asyncio.wait(self._open, return_when=asyncio.FIRST_COMPLETED)

    async def end(self) -> None:
        for writer in self._open.values():
            writer.transport.abort()
        await self.at_most_open(0)


@asynccontextmanager
async def playing(*scripts: Script) -> AsyncIterator[Server]:
    played = Server(scripts)
    server = await asyncio.start_server(played.accept, "127.0.0.1", 0)
    played.port = server.sockets[0].getsockname()[1]
    try:
        yield played
    finally:
        server.close()
        await played.end()
        await server.wait_closed()


# What a client reads


@dataclass(frozen=True)
class Seen:
    """A response that was read to its end."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


FAILED = None  # in place of `Seen`: the client raised `httpx.TransportError`

Read = Callable[[httpx.Response], Awaitable[bytes]]


async def whole(response: httpx.Response) -> bytes:
    return b"".join([data async for data in response.aiter_raw()])


@cache
def tls() -> ssl.SSLContext:
    return ssl.create_default_context()


async def exchange(transport: httpx.AsyncBaseTransport, server: Server, number: int, read: Read = whole) -> Seen | None:
    """Send one request for a script, and close the response in every case."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            response = await transport.handle_async_request(
                httpx.Request("GET", f"http://127.0.0.1:{server.port}/{number}")
            )
            try:
                body = await read(response)
            finally:
                await response.aclose()
    except httpx.TransportError:
        return FAILED
    # h11 writes this one value in lower case.
    headers = (
        (name, value.lower() if name == "transfer-encoding" else value)
        for name, value in response.headers.multi_items()
    )
    return Seen(response.status_code, tuple(headers), body)


async def by_both(*scripts: Script) -> tuple[list[Seen | None], list[Seen | None]]:
    """Return the results of our transport and of httpx's own for the same responses, one after the other."""
    results: list[list[Seen | None]] = []
    for transport in (PooledTransport(1, tls()), httpx.AsyncHTTPTransport(verify=tls())):
        async with playing(*scripts) as server, transport:
            results.append([await exchange(transport, server, number) for number in range(len(scripts))])
    ours, theirs = results
    return ours, theirs


# Generated responses


@dataclass(frozen=True)
class Answer:
    """A response as the server means it. `chunks` has the sizes of its chunks; None is another framing."""

    status: int = 200
    version: str = "1.1"
    interim: tuple[bytes, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"hello"
    chunks: tuple[int, ...] | None = None
    extension: bytes = b""
    trailers: bytes = b""
    counted: bool = True
    """Whether the head has the body's length; a body that is neither chunked nor counted ends with the connection."""

    @property
    def bodiless(self) -> bool:
        return self.status in (204, 304)

    def head(self) -> bytes:
        lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in self.headers]
        if self.chunks is not None:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        elif self.counted:
            lines.append(b"Content-Length: %d\r\n" % len(self.body))
        start = f"HTTP/{self.version} {self.status} Reason\r\n".encode()
        return b"".join((*self.interim, start, *lines, b"\r\n"))

    @property
    def payload(self) -> bytes:
        return b"" if self.bodiless else self.body

    def framed_body(self) -> bytes:
        if self.chunks is None or self.bodiless:
            return self.payload
        framed, left = b"", self.body
        for size in cycle(self.chunks):
            if not left:
                break
            chunk, left = left[:size], left[size:]
            framed += b"%x%b\r\n%b\r\n" % (len(chunk), self.extension, chunk)
        return framed + b"0%b\r\n%b\r\n" % (self.extension, self.trailers)

    def wire(self) -> bytes:
        return self.head() + self.framed_body()

    @property
    def framed(self) -> bool:
        return self.bodiless or self.chunks is not None or self.counted

    def body_after(self, cut: int) -> bytes | None:
        """The body if the server closes after this many bytes; None if the client must fail."""
        if cut >= len(self.wire()):
            return self.payload
        if not self.framed and cut >= len(self.head()):
            return self.payload[: cut - len(self.head())]
        return None

    @property
    def keeps_alive(self) -> bool:
        return self.framed and self.version == "1.1" and ("Connection", "close") not in self.headers


@dataclass(frozen=True)
class Sent:
    """A response, cut or whole, and the sizes of the pieces in which it is sent."""

    answer: Answer
    cut: int | None = None
    sizes: tuple[int, ...] = (1_000_000,)

    @property
    def length(self) -> int:
        whole = len(self.answer.wire())
        return whole if self.cut is None else min(self.cut, whole)

    def script(self) -> Script:
        data = self.answer.wire()[: self.length]
        pieces, sizes, growth = [], cycle(self.sizes), 1 + len(data) // 512  # 512 pieces at most
        while data:
            size = next(sizes) * growth
            pieces.append(data[:size])
            data = data[size:]
        return Script(tuple(pieces), closes=self.cut is not None or not self.answer.keeps_alive)

    def expected(self) -> Seen | None:
        answer = self.answer
        if (body := answer.body_after(self.length)) is None:
            return FAILED
        headers = [(name.lower(), value.strip(" \t")) for name, value in answer.headers]
        if answer.chunks is not None:
            headers.append(("transfer-encoding", "chunked"))
        elif answer.counted:
            headers.append(("content-length", str(len(answer.body))))
        return Seen(answer.status, tuple(headers), body)


NAMES = st.sampled_from(("X-Request-Id", "x-a", "Set-Cookie", "Retry-After", "Content-Type"))
VALUES = st.text(st.sampled_from("aZ09 ,;=\t\"'éÿ"), max_size=12)
HEADERS = st.lists(st.tuples(NAMES, VALUES) | st.just(("Connection", "close")), max_size=5).map(tuple)
INTERIM = st.sampled_from((100, 102, 103)).map(lambda status: b"HTTP/1.1 %d Wait\r\nLink: x\r\n\r\n" % status)
BODIES = st.binary(max_size=300) | st.integers(1, 3).map(lambda times: bytes(range(256)) * (times * MAX_UNREAD // 256))
SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=5).map(tuple)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    chunked = draw(st.booleans())
    return Answer(
        status=draw(st.sampled_from((200, 200, 201, 204, 304, 400, 429, 503))),
        version="1.1" if chunked else draw(st.sampled_from(("1.1", "1.1", "1.0"))),
        interim=tuple(draw(st.lists(INTERIM, max_size=3))),
        headers=draw(HEADERS),
        body=(body := draw(BODIES)),
        chunks=tuple(size * (1 + len(body) // 512) for size in draw(SIZES)) if chunked else None,
        extension=draw(st.sampled_from((b"", b";a", b";a=b", b';a="b;c"'))),
        trailers=draw(st.sampled_from((b"", b"X: y\r\n", b"Server-Timing: x\r\nX: y\r\n"))),
        counted=draw(st.booleans()),
    )


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    answer = draw(answers())
    cut = draw(st.none() | st.integers(0, len(answer.wire())))
    return Sent(answer, cut, draw(SIZES | st.just((1_000_000,))))


@st.composite
def damaged_answers(draw: st.DrawFn) -> bytes:
    answer = draw(answers())
    wire = answer.wire()
    position = min(draw(st.integers(0, len(answer.head()) + 20)), len(wire))
    added = draw(st.sampled_from([b"", *(bytes((byte,)) for byte in b"\r\n \t:;,0159aAfFxX\x00\xff")]))
    lost = draw(st.integers(0, 2))
    return wire[:position] + added + wire[position + lost :]


# The same as httpx's own transport

ALIKE = {
    "counted": HELLO,
    "no reason phrase": b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
    "an unknown status": b"HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\nhello",
    "a status below 100": b"HTTP/1.1 099 Odd\r\nContent-Length: 5\r\n\r\nhello",
    "white space around a value": HEAD + b"X:  a b \t \r\nContent-Length: 5\r\n\r\nhello",
    "an empty value": HEAD + b"X:\r\nContent-Length: 5\r\n\r\nhello",
    "a value in Latin-1": HEAD + b"X: \xe9\xff\r\nContent-Length: 5\r\n\r\nhello",
    "a NUL in a value": HEAD + b"X: a\x00b\r\nContent-Length: 5\r\n\r\nhello",
    "a CR in a value": HEAD + b"X: a\rb\r\nContent-Length: 5\r\n\r\nhello",
    "white space before the colon": HEAD + b"X : a\r\nContent-Length: 5\r\n\r\nhello",
    "a header without a name": HEAD + b": a\r\nContent-Length: 5\r\n\r\nhello",
    "a header without a colon": HEAD + b"Xa\r\nContent-Length: 5\r\n\r\nhello",
    "a length with a zero before it": HEAD + b"Content-Length: 05\r\n\r\nhello",
    "a length with a sign": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "an endless length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "an empty length": HEAD + b"Content-Length: \r\n\r\nhello",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "an unknown coding": HEAD + b"Transfer-Encoding: identity\r\n\r\nhello",
    "chunk sizes in both cases": CHUNKED + b"A\r\nhellohello\r\na\r\nhellohello\r\n0\r\n\r\n",
    "chunk sizes with zeros": CHUNKED + b"0005\r\nhello\r\n0000\r\n\r\n",
    "chunk sizes with a prefix": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "an endless chunk": CHUNKED + b"fffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n",
    "a chunk without its line end": CHUNKED + b"5\r\nhello0\r\n\r\n",
    "chunks with bare line feeds": CHUNKED + b"5\nhello\n0\n\n",
    "a broken trailer": CHUNKED + b"5\r\nhello\r\n0\r\nX y\r\n\r\n",
    "no last chunk": CHUNKED + b"5\r\nhello\r\n",
    "no blank line after the last chunk": CHUNKED + b"5\r\nhello\r\n0\r\n",
    "a body where there is none": b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello",
    "chunks where there are none": b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "an interim answer with a length": b"HTTP/1.1 103 Hints\r\nContent-Length: 3\r\n\r\n" + HELLO,
    "an interim answer alone": b"HTTP/1.1 103 Hints\r\n\r\n",
    "an upgrade that nobody asked for": HEAD + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
    "a switch of protocols": b"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n",
    "surplus bytes": HELLO + b"surplus",
    "two answers": HELLO + HELLO,
    "another protocol": b"SSH-2.0-OpenSSH\r\n",
    "a protocol in lower case": b"http/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "nothing": b"",
}


@pytest.mark.parametrize("data", ALIKE.values(), ids=ALIKE)
async def test_an_answer_is_read_as_httpx_reads_it(data: bytes) -> None:
    """Both clients read the same status, headers and body, or both raise an error."""
    ours, theirs = await by_both(Script((data,), closes=True))
    assert ours == theirs


REFUSED_HERE = {
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "an unknown minor version": b"HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a folded header": HEAD + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "a control character in a value": HEAD + b"X: a\x01b\r\nContent-Length: 5\r\n\r\nhello",
    "the same length twice": HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    "a length beside chunks": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "a space after a chunk size": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "a length as a trailer": CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    "more headers than the limit": HEAD + b"X: 1\r\n" * 300 + b"Content-Length: 5\r\n\r\nhello",
}
READ_HERE = {
    "an empty line before the answer": b"\r\n" + HELLO,
    "a coding below the chunks": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "the coding twice": HEAD + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n5\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", REFUSED_HERE.values(), ids=REFUSED_HERE)
async def test_the_parser_refuses_what_only_h11_reads(data: bytes) -> None:
    """Known differences: httptools is strict about framing, and this client limits the size of a head."""
    (ours,), (theirs,) = await by_both(Script((data,), closes=True))
    assert ours is FAILED
    assert theirs is not FAILED
    assert theirs.body == b"hello"


@pytest.mark.parametrize("data", READ_HERE.values(), ids=READ_HERE)
async def test_the_parser_reads_what_only_h11_refuses(data: bytes) -> None:
    """Known differences, in which the body is what the chunks contain."""
    (ours,), (theirs,) = await by_both(Script((data,), closes=True))
    assert ours is not FAILED
    assert ours.body == b"hello"
    assert theirs is FAILED


@given(st.lists(sent(), min_size=1, max_size=3))
async def test_generated_answers_are_read_as_httpx_reads_them(exchanges: list[Sent]) -> None:
    """Both clients agree on any framing, interim response, trailer, cut and piece size, also on a reused connection."""
    ours, theirs = await by_both(*(each.script() for each in exchanges))
    assert ours == theirs


@given(damaged_answers())
async def test_damaged_answers_are_never_read_as_different_answers(wire: bytes) -> None:
    """A byte is lost, added or replaced: where both clients still return a response, it is the same one."""
    (ours,), (theirs,) = await by_both(Script((wire,), closes=True))
    assert ours is FAILED or theirs is FAILED or ours == theirs


# Whole or an error, and nothing leaks


@dataclass(frozen=True)
class Reading:
    """How a response is read: all of it, only `reads` pieces before it is closed, or until it is cancelled."""

    size: int | None = None
    reads: int | None = None
    cancelled_after: int | None = None  # turns of the event loop

    @property
    def complete(self) -> bool:
        return self.reads is None and self.cancelled_after is None


READINGS = st.one_of(
    st.just(Reading()),
    st.builds(Reading, size=st.sampled_from((1, 7, 4096))),
    st.builds(Reading, reads=st.integers(0, 3)),
    st.builds(Reading, cancelled_after=st.integers(0, 40)),
)


async def pursue(transport: PooledTransport, server: Server, number: int, each: Sent, reading: Reading) -> None:
    """Make one exchange, and check everything that is read against what the server sent."""
    so_far = bytearray()

    async def read(response: httpx.Response) -> bytes:
        pieces = response.aiter_raw(reading.size)
        count = 0
        while count != reading.reads and (data := await anext(pieces, b"")):
            so_far.extend(data)
            count += 1
        return bytes(so_far)

    asked = asyncio.create_task(exchange(transport, server, number, read))
    if reading.cancelled_after is not None:
        for _ in range(reading.cancelled_after):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait((asked,))
    if not asked.cancelled():
        seen = await asked
        if reading.reads is None:
            assert seen == each.expected()
    assert each.answer.payload.startswith(so_far)


def connections(exchanges: Sequence[Sent]) -> int:
    """How many connections the exchanges use if each response is read to its end."""
    count, alive = 0, False
    for each in exchanges:
        if not alive:
            count += 1
        elif each.length == 0:
            count += 1  # a reused connection that closes without a byte is replaced once
        alive = each.answer.keeps_alive and each.cut is None
    return count + (not alive)


LONG = Answer(body=bytes(3 * MAX_UNREAD))
FINAL = Sent(Answer(body=b"final"))


@given(st.lists(st.tuples(sent(), READINGS), min_size=1, max_size=4))
@example([(Sent(LONG), Reading(reads=1)), (Sent(LONG, cut=2 * MAX_UNREAD), Reading())])
@example([(Sent(Answer()), Reading()), (Sent(Answer(), cut=0), Reading())])
async def test_every_exchange_ends_and_frees_its_connection(exchanges: list[tuple[Sent, Reading]]) -> None:
    """However an exchange ends, its body is right or an error is raised, and the only connection is free again."""
    sents = [each for each, _ in exchanges]
    async with playing(*(each.script() for each in (*sents, FINAL))) as server, PooledTransport(1, tls()) as transport:
        for number, (each, reading) in enumerate(exchanges):
            await pursue(transport, server, number, each, reading)
        assert await exchange(transport, server, len(exchanges)) == FINAL.expected()
        if all(reading.complete for _, reading in exchanges):
            assert server.accepted == connections(sents)
        async with asyncio.timeout(DEADLINE_S):
            await server.at_most_open(1)
            await transport.aclose()
            await server.at_most_open(0)


RICH = Answer(
    interim=(b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n",),
    headers=(("X-A", "b"),),
    chunks=(2, 3),
    extension=b";a=b",
    trailers=b"X: y\r\n",
)
FRAMINGS = {"chunked": RICH, "counted": Answer(), "closed": Answer(counted=False), "empty": Answer(status=204)}


@pytest.mark.parametrize("answer", FRAMINGS.values(), ids=FRAMINGS)
async def test_an_answer_may_be_cut_or_split_at_every_place(answer: Answer) -> None:
    """A response in two pieces equals the same response in one.

    A response that ends early is an error unless the close ends its body.
    """
    positions = range(1, len(answer.wire()))
    split = [Sent(answer, sizes=(position, 1_000_000)) for position in positions]
    truncated = [Sent(answer, cut=position) for position in (0, *positions)]
    async with (
        playing(*(each.script() for each in (*split, *truncated))) as server,
        PooledTransport(1, tls()) as transport,
    ):
        for number, each in enumerate((*split, *truncated)):
            assert await exchange(transport, server, number) == each.expected(), each
