"""The client's HTTP: framing, connection reuse, limits, backpressure, cancellation and errors, against raw servers."""

import asyncio
import gzip
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from services.upstreams import http_client as upstream_client
from services.upstreams import http_connection, http_pool
from services.upstreams.http_client import UpstreamClient, reader

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
COUNTED = HEAD + b"Content-Length: 5\r\n\r\n"
HELLO = COUNTED + b"hello"
PIECE = 64 * 1024


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Each test runs on both event loops, since their transports differ."""
    return "asyncio", {"use_uvloop": request.param}


class Peer:
    """The server's end of one connection."""

    def __init__(self, number: int, streams: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.gone = asyncio.Event()
        self._reader = streams
        self.writer = writer

    async def request(self) -> bytes:
        """Return the next request. Raise `IncompleteReadError` if the client has closed the connection."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
        return head + await self._reader.readexactly(int(length.partition(b":")[2]))

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, data: bytes = HELLO) -> bytes:
        request = await self.request()
        await self.say(data)
        return request

    async def left(self) -> None:
        """Return when the client has closed the connection."""
        while await self._reader.read(PIECE):
            pass


Talk = Callable[[Peer], Awaitable[object]]


class Upstream:
    """A server on a loopback port. Each connection is a `Peer`, which is passed to the test's coroutine."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._tasks: set[asyncio.Task[None]] = set()
        self.peers: list[Peer] = []
        self.met = asyncio.Event()
        self.url = ""

    async def accept(self, streams: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(len(self.peers) + 1, streams, writer)
        self.peers.append(peer)
        self.met.set()
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._talk(peer)
            await peer.left()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            peer.gone.set()
            writer.transport.abort()
            self._tasks.discard(task)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def upstream(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    served = Upstream(talk)
    server = await asyncio.start_server(served.accept, "127.0.0.1", 0, ssl=tls)
    served.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/models?a=%20b"
    try:
        yield served
    finally:
        server.close()
        await served.end()
        await server.wait_closed()


@asynccontextmanager
async def client(max_connections: int = 10) -> AsyncIterator[UpstreamClient]:
    made = UpstreamClient(max_connections)
    try:
        yield made
    finally:
        await made.aclose()


@asynccontextmanager
async def talking(talk: Talk, max_connections: int = 10) -> AsyncIterator[tuple[Upstream, UpstreamClient]]:
    async with upstream(talk) as served, client(max_connections) as asking:
        yield served, asking


async def always(peer: Peer) -> None:
    """Answer every request on the connection."""
    while True:
        await peer.answer()


# Requests and responses


async def test_a_request_goes_out_as_it_was_made() -> None:
    """The method, the raw path with its query, the order of headers and the body are the caller's; nothing is added."""
    requests: list[bytes] = []

    async def talk(peer: Peer) -> None:
        requests.append(await peer.answer())

    async with talking(talk) as (served, asking):
        response = await asking.post(served.url, headers={"X-One": "1", "Host": "named"}, content=b"body")
    assert (response.status_code, response.content) == (200, b"hello")
    assert requests == [b"POST /v1/models?a=%20b HTTP/1.1\r\nX-One: 1\r\nHost: named\r\nContent-Length: 4\r\n\r\nbody"]


@pytest.mark.parametrize(
    ("sent", "body", "connections"),
    [
        (COUNTED + b"hello", b"hello", 1),
        (HEAD + b"content-length:0\r\n\r\n", b"", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", 1),
        (CHUNKED + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello", 1),
        (CHUNKED + b"5\r\nhello\r\n0\r\nTrailer: t\r\n\r\n", b"hello", 1),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + HELLO, b"hello", 1),
        (HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", b"hello", 2),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", 2),
        (HELLO + HELLO, b"hello", 2),
    ],
)
async def test_each_framing_yields_the_body_and_whether_the_connection_lives(
    sent: bytes, body: bytes, connections: int
) -> None:
    """Counted, chunked, empty and interim responses are read; the connection is reused only where HTTP allows it."""

    async def talk(peer: Peer) -> None:
        await peer.answer(sent)
        await always(peer)

    async with talking(talk) as (served, asking):
        response = await asking.get(served.url)
        assert (response.content, "link" in response.headers, "trailer" in response.headers) == (body, False, False)
        assert (await asking.get(served.url)).content == b"hello"
        assert len(served.peers) == connections


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    """The server's close ends such a body and is not an error."""

    async def talk(peer: Peer) -> None:
        await peer.answer(HEAD + b"\r\nhel")
        await peer.say(b"lo")
        peer.writer.close()

    async with talking(talk) as (served, asking):
        assert (await asking.get(served.url)).content == b"hello"


async def test_bytes_split_anywhere_make_the_same_answer() -> None:
    """A response that arrives byte by byte is read like one that arrives at once."""

    async def talk(peer: Peer) -> None:
        await peer.request()
        for byte in CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n":
            await peer.say(bytes((byte,)))
            await asyncio.sleep(0)

    async with talking(talk) as (served, asking):
        assert (await asking.get(served.url)).content == b"hello"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("encoding", "sent", "read"),
    [
        (b"gzip", gzip.compress(b'{"error":1}', mtime=0), b'{"error":1}'),
        (b"gzip", b'{"error":1}', b'{"error":1}'),
        (b"deflate", b'{"error":1}', b'{"error":1}'),
        (b"deflate", zlib.compress(b'{"error":1}'), b'{"error":1}'),
        (b"br", b'{"error":1}', b'{"error":1}'),
        (b"none", gzip.compress(b'{"error":1}', mtime=0), b'{"error":1}'),
        (b"br", b"\x0b\x05\x80error\x03", b""),
        (b"gzip", gzip.compress(b"error", mtime=0)[:10] + b"\xff" * 20, b""),
    ],
)
async def test_a_refusal_counts_whatever_its_encoding(encoding: bytes, sent: bytes, read: bytes, stream: bool) -> None:
    """A refusal keeps its status even if its body can't be decoded. The bytes show how a body is compressed."""

    async def talk(peer: Peer) -> None:
        head = b"HTTP/1.1 422 No\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(sent))
        await peer.answer(head + sent)

    async with talking(talk) as (served, asking):
        response = await asking.send(asking.build_request("GET", served.url), stream=stream)
        assert response.status_code == 422
        assert await response.aread() == read


async def test_a_refusal_that_breaks_off_counts() -> None:
    """A refusal that breaks off keeps its status and the part of the body that arrived."""

    async def talk(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 400 No\r\nContent-Length: 50\r\n\r\nunknown")
        peer.writer.close()

    async with talking(talk) as (served, asking):
        response = await asking.send(asking.build_request("POST", served.url), stream=True)
        assert (response.status_code, response.text) == (400, "unknown")


async def test_a_streamed_answer_is_read_as_it_arrives() -> None:
    """Each read returns what has arrived, or b"" at the end; the next one waits for the server."""
    asked_for_more = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.answer(CHUNKED + b"3\r\nhel\r\n")
        await asked_for_more.wait()
        await peer.say(b"2\r\nlo\r\n0\r\n\r\n")

    async with talking(talk) as (served, asking):
        response = await asking.send(asking.build_request("GET", served.url), stream=True)
        read = reader(response)
        assert await read() == b"hel"
        asked_for_more.set()
        assert [await read(), await read(), await read()] == [b"lo", b"", b""]
        await response.aclose()
        with pytest.raises(httpx.StreamClosed):
            await read()


async def test_a_line_break_in_a_header_is_refused() -> None:
    """A header's value can't inject another header."""
    async with talking(always) as (served, asking):
        with pytest.raises(httpx.LocalProtocolError):
            await asking.get(served.url, headers={"X-One": "1\r\nX-Two: 2"})
        assert not served.peers


# Reuse


async def test_a_connection_is_used_again() -> None:
    """Requests made one after the other share one connection."""
    async with talking(always) as (served, asking):
        for _ in range(3):
            await asking.get(served.url)
        assert len(served.peers) == 1


async def test_an_idle_connection_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client closes a connection after the idle limit."""
    monkeypatch.setattr(http_pool, "KEEPALIVE_S", 0.05)
    async with talking(always) as (served, asking):
        await asking.get(served.url)
        await served.peers[0].gone.wait()
        await asking.get(served.url)
        assert len(served.peers) == 2


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_a_connection_that_ended_while_idle_is_never_used(last_words: bytes) -> None:
    """An idle connection isn't reused if the server closed it or sent bytes without a request."""
    let_go = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.answer()
        if peer.number == 1:
            await let_go.wait()
            await peer.say(last_words)
            if not last_words:
                peer.writer.close()

    async with talking(talk) as (served, asking):
        await asking.get(served.url)
        let_go.set()
        await served.peers[0].gone.wait()
        assert (await asking.get(served.url)).status_code == 200
        assert len(served.peers) == 2


async def test_a_reused_connection_that_dies_in_silence_is_replaced_once() -> None:
    """The request is sent again on a new connection, and the caller doesn't notice."""

    async def talk(peer: Peer) -> None:
        await peer.answer()
        if peer.number == 1:
            await peer.request()
        else:
            await always(peer)

    async with talking(dying(talk, peers={1})) as (served, asking):
        await asking.get(served.url)
        assert (await asking.get(served.url)).content == b"hello"
        assert len(served.peers) == 2


async def test_a_fresh_connection_that_dies_is_an_error() -> None:
    """Neither the first connection nor the replacement of a dead one is retried."""

    async def talk(peer: Peer) -> None:
        if peer.number == 1:
            await peer.answer()
        await peer.request()

    async with talking(dying(talk, peers={1, 2, 3})) as (served, asking):
        await asking.get(served.url)
        with pytest.raises(httpx.RemoteProtocolError):
            await asking.get(served.url)
        assert len(served.peers) == 2
        with pytest.raises(httpx.RemoteProtocolError):
            await asking.get(served.url)
        assert len(served.peers) == 3


async def test_a_reused_connection_that_has_begun_to_answer_is_not_replaced() -> None:
    """The server has accepted such a request and must not receive it twice."""

    async def talk(peer: Peer) -> None:
        await peer.answer()
        await peer.answer(HEAD)

    async with talking(dying(talk, peers={1})) as (served, asking):
        await asking.get(served.url)
        with pytest.raises(httpx.RemoteProtocolError):
            await asking.get(served.url)
        assert len(served.peers) == 1


def dying(talk: Talk, peers: set[int]) -> Talk:
    """`talk`, after which the server closes the connections of these peers."""

    async def talk_and_die(peer: Peer) -> None:
        await talk(peer)
        if peer.number in peers:
            peer.writer.close()

    return talk_and_die


# Limits


async def test_the_limit_holds_and_the_longest_wait_is_next() -> None:
    """Five requests use two connections, never a third, and are served in their order."""
    order: list[str] = []

    async def ask(asking: UpstreamClient, url: str, name: str) -> None:
        await asking.get(url, headers={"X-Name": name})
        order.append(name)

    async with talking(always, max_connections=2) as (served, asking):
        held = [await asking.send(asking.build_request("GET", served.url), stream=True) for _ in range(2)]
        waiting = [asyncio.create_task(ask(asking, served.url, name)) for name in "abc"]
        for _ in range(20):  # turns of the loop, in which a third connection would have been used
            await asyncio.sleep(0)
        assert not order
        await held[0].aread()
        await asyncio.gather(*waiting)
        assert order == ["a", "b", "c"]
        await held[1].aread()
        assert len(served.peers) == 2


async def test_idle_connections_make_room_for_another_origin() -> None:
    """Idle connections count towards the limit on open connections."""
    async with talking(always, max_connections=1) as (served, asking), upstream(always) as other:
        await asking.get(served.url)
        await asking.get(other.url)
        await served.peers[0].gone.wait()
        assert (len(served.peers), len(other.peers)) == (1, 1)


async def test_a_body_that_nobody_reads_is_left_in_the_socket() -> None:
    """The server has to wait, memory stays bounded, and the whole body arrives in the end."""
    size, sent = 64 * 1024 * 1024, 0

    async def talk(peer: Peer) -> None:
        nonlocal sent
        await peer.answer(HEAD + b"Content-Length: %d\r\n\r\n" % size)
        while sent < size:
            await peer.say(bytes(PIECE))
            sent += PIECE

    async with talking(talk) as (served, asking):
        response = await asking.send(asking.build_request("GET", served.url), stream=True)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.05)
        assert sent < size
        read, got = reader(response), 0
        while data := await read():
            assert len(data) <= http_connection.MAX_UNREAD + 256 * 1024  # and what one read of the socket returns
            got += len(data)
        assert got == size
        await response.aclose()


# Cancellation and closing


@pytest.mark.parametrize("said", [b"", HEAD, CHUNKED, CHUNKED + b"5\r\nhello\r\n"])
async def test_cancelling_closes_the_connection_and_frees_its_place(said: bytes) -> None:
    """Cancelling frees the connection's slot, both while waiting for the response and while reading it."""

    begun = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.answer(said if peer.number == 1 else HELLO)
        begun.set()

    async with talking(talk, max_connections=1) as (served, asking):
        asked = asyncio.create_task(asking.get(served.url))
        await begun.wait()
        await asyncio.sleep(0)  # it reads what has arrived
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await served.peers[0].gone.wait()
        assert (await asking.get(served.url)).content == b"hello"


async def test_cancelling_while_waiting_for_a_place_takes_none() -> None:
    """A cancelled waiter doesn't cost the next one its turn."""
    async with talking(always, max_connections=1) as (served, asking):
        held = await asking.send(asking.build_request("GET", served.url), stream=True)
        first, second = (asyncio.create_task(asking.get(served.url)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await held.aread()
        assert (await second).content == b"hello"
        assert first.cancelled()


async def test_cancelling_while_connecting_frees_the_place() -> None:
    """An unfinished handshake is abandoned together with the request."""
    async with talking(Peer.left, max_connections=1) as (served, asking), upstream(always) as other:
        asked = asyncio.create_task(asking.get(served.url.replace("http:", "https:")))
        await served.met.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await served.peers[0].gone.wait()
        await asking.get(other.url)


async def test_closing_an_answer_early_closes_its_connection() -> None:
    """The client doesn't wait for the rest of the body; the slot is freed at once, and only once."""

    async def talk(peer: Peer) -> None:
        await peer.answer(CHUNKED + b"5\r\nhello\r\n")

    async with talking(talk, max_connections=1) as (served, asking):
        for _ in range(3):
            response = await asking.send(asking.build_request("GET", served.url), stream=True)
            stream = response.stream
            assert isinstance(stream, httpx.AsyncByteStream)
            await response.aclose()
            await stream.aclose()
        for peer in served.peers:
            await peer.gone.wait()
        assert len(served.peers) == 3


async def test_closing_the_client_breaks_off_what_is_under_way() -> None:
    """This includes a body that the close would have completed; no further request is sent."""

    async def talk(peer: Peer) -> None:
        await peer.answer(HEAD + b"\r\nhel")

    async with talking(talk) as (served, asking):
        response = await asking.send(asking.build_request("GET", served.url), stream=True)
        read = reader(response)
        assert await read() == b"hel"
        await asking.aclose()
        with pytest.raises(httpx.ReadError):
            await read()
        await served.peers[0].gone.wait()
        with pytest.raises(RuntimeError):
            await asking.get(served.url)
        await response.aclose()


# Errors


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        HEAD,
        COUNTED + b"hel",
        CHUNKED + b"5\r\nhel",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"x\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
async def test_what_is_no_whole_answer_is_a_protocol_error(sent: bytes) -> None:
    """A response that is cut, or that isn't HTTP, raises an error; the connection is closed and its slot freed."""

    async def talk(peer: Peer) -> None:
        await peer.answer(sent)
        peer.writer.close()

    async with talking(talk, max_connections=1) as (served, asking):
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                await asking.get(served.url)
        for peer in served.peers:
            await peer.gone.wait()


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"X: 1\r\n" * 300,
        HEAD + b"X: %b\r\n\r\n" % (b"x" * 70_000),
        HEAD + b"X: " + b"x" * 1_000_000,
        b"HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n" * 10_000,
        CHUNKED + b"0\r\nX: " + b"x" * 1_000_000,
    ],
    ids=["headers", "size", "endless", "early hints", "trailers"],
)
async def test_an_answer_s_head_and_trailers_are_bounded(sent: bytes) -> None:
    """A head or trailers beyond the limit raise a clear error, and the client doesn't wait for their end."""

    async def talk(peer: Peer) -> None:
        await peer.answer(sent)

    async with talking(talk, max_connections=1) as (served, asking):
        with pytest.raises(httpx.RemoteProtocolError, match="headers, or its trailers, are too large"):
            await asyncio.wait_for(asking.get(served.url), 10)


async def test_what_came_before_a_cut_is_given_first() -> None:
    """The pieces that arrived before the connection broke are returned first, then the error is raised."""

    async def talk(peer: Peer) -> None:
        await peer.answer(CHUNKED + b"5\r\nhello\r\n")
        peer.writer.close()

    async with talking(talk) as (served, asking):
        response = await asking.send(asking.build_request("GET", served.url), stream=True)
        await served.peers[0].gone.wait()
        read = reader(response)
        assert await read() == b"hello"
        with pytest.raises(httpx.RemoteProtocolError):
            await read()
        await response.aclose()


async def test_a_reset_is_a_read_error() -> None:
    """An error of the operating system is distinguished from what the server sends."""

    read_so_far = asyncio.Event()

    async def talk(peer: Peer) -> None:
        await peer.answer(CHUNKED + b"5\r\nhello\r\n")
        await read_so_far.wait()
        reset_at_close = struct.pack("ii", 1, 0)
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_at_close)
        peer.writer.transport.abort()

    async with talking(talk) as (served, asking):
        response = await asking.send(asking.build_request("GET", served.url), stream=True)
        read = reader(response)
        assert await read() == b"hello"
        read_so_far.set()
        with pytest.raises(httpx.ReadError):
            await read()
        await response.aclose()


async def test_a_port_where_nobody_listens_is_a_connect_error() -> None:
    """A connection that is refused raises a connect error and frees its slot."""
    async with upstream(always) as served, client(max_connections=1) as asking:
        for url in ("http://127.0.0.1:9/", "http://127.0.0.1:9/", "http://no-such-host.invalid/"):
            with pytest.raises(httpx.ConnectError):
                await asking.get(url)
        await asking.get(served.url)


async def test_a_server_that_does_not_shake_hands_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connect timeout covers the TLS handshake."""
    monkeypatch.setattr(http_pool, "CONNECT_TIMEOUT_S", 0.1)
    async with talking(Peer.left) as (served, asking):
        with pytest.raises(httpx.ConnectTimeout):
            await asking.get(served.url.replace("http:", "https:"))
        await served.peers[0].gone.wait()


# TLS and proxies


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[trustme.CA]:
    """A certificate authority that the client trusts through SSL_CERT_FILE, as an operator would set it up."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    upstream_client.tls.cache_clear()
    yield made
    upstream_client.tls.cache_clear()


def server_tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_tls_is_spoken_checked_and_reused(authority: trustme.CA) -> None:
    """HTTP/1.1 is negotiated, the certificate is checked, and the second request reuses the first one's connection."""
    async with upstream(always, server_tls(authority, "127.0.0.1")) as served, client() as asking:
        for _ in range(2):
            assert (await asking.get(served.url)).content == b"hello"
        assert len(served.peers) == 1
        assert served.peers[0].writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


async def test_a_certificate_for_another_name_is_refused(authority: trustme.CA) -> None:
    """A certificate of an unknown authority is refused, too."""
    for certificate in (server_tls(authority, "other.test"), server_tls(trustme.CA(), "127.0.0.1")):
        async with upstream(always, certificate) as served, client() as asking:
            with pytest.raises(httpx.ConnectError):
                await asking.get(served.url)


async def test_a_proxy_of_the_environment_is_used_but_not_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy isn't used for hosts in NO_PROXY either. A response through it is read like a direct one."""
    requests: list[bytes] = []

    async def talk(peer: Peer) -> None:
        while True:
            requests.append(await peer.answer(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"))

    async with talking(talk) as (served, asking), upstream(always) as near:
        monkeypatch.setenv("http_proxy", served.url.removesuffix("/v1/models?a=%20b"))
        monkeypatch.setenv("no_proxy", "direct.invalid")
        assert (await asking.get(near.url)).content == b"hello"
        with pytest.raises(httpx.ConnectError):
            await asking.get("http://direct.invalid/")
        assert not requests
        request = asking.build_request("GET", "http://far.invalid/models", headers={"Host": "far.invalid"})
        response = await asking.send(request, stream=True)
        read = reader(response)
        assert [await read(), await read()] == [b"hello", b""]
        await response.aclose()
        assert requests[0].startswith(b"GET http://far.invalid/models HTTP/1.1\r\n")
