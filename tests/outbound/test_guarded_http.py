"""The guarded client against real servers: the address it connects to, the name it keeps, and the bounds of a fetch."""

import asyncio
import gzip
import tracemalloc
import zlib

import pytest
from raw_servers import (
    HELLO,
    LOOPBACK,
    OPEN,
    Connection,
    Names,
    always,
    at,
    client,
    once,
    redirects,
    serving,
)

from errors import UrlRefused
from services.outbound.client import GuardedClient
from services.outbound.fetch import Fetched, FetchFailed, fetch
from services.outbound.url_guard import UrlGuard

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The service's event loop, uvloop. On another one only httpx's own work would differ."""
    return "asyncio", {"use_uvloop": True}


async def get(made: GuardedClient, url: str, max_bytes: int = 1000, timeout_s: float = 20) -> Fetched:
    return await fetch(made, url, max_bytes=max_bytes, timeout_s=timeout_s)


# Where connections go


async def test_the_name_stays_and_the_address_is_the_guard_s() -> None:
    """The Host header, TLS's server name and the certificate check use the name.

    Only the connection uses the address.
    """
    names = Names(["127.0.0.1"])
    async with serving(always(HELLO), "site.example.com") as server, client(names) as made:
        answer = await get(made, f"https://site.example.com:{server.port}/a?b=c")
        assert (answer.status, answer.content_type, answer.text(), answer.truncated) == (
            200,
            "text/plain",
            "hello",
            False,
        )
        assert server.names == ["site.example.com"]
        assert server.heads[0].startswith("GET /a?b=c HTTP/1.1\r\n")
        assert f"\r\nHost: site.example.com:{server.port}\r\n" in server.heads[0]
        assert names.asked == ["site.example.com"]


async def test_a_certificate_of_another_name_is_refused() -> None:
    """The certificate is refused even if it is valid for the address."""
    for name in ("other.example.com", "127.0.0.1"):
        async with serving(always(HELLO), name) as server, client() as made:
            with pytest.raises(FetchFailed, match="could not be reached"):
                await get(made, f"https://site.example.com:{server.port}/")
            assert server.heads == []


async def test_a_name_that_changes_its_mind_is_caught() -> None:
    """DNS rebinding: each connection is resolved once, and the next connection's addresses are checked again."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    closing = HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with serving(once(closing), "site.example.com") as server, client(names) as made:
        url = f"https://site.example.com:{server.port}/"
        assert (await get(made, url)).text() == "hello"
        assert names.asked == ["site.example.com"]
        with pytest.raises(UrlRefused):
            await get(made, url)
        assert len(names.asked) == 2
        assert len(server.connections) == 1


async def test_nothing_is_sent_to_a_name_that_leads_inside() -> None:
    """Nothing is sent to an inner address either, by any method of the client."""
    async with serving(always(HELLO)) as server, client(allowed=()) as made:
        for url in (f"https://site.example.com:{server.port}/", at(server), f"https://127.0.0.1:{server.port}/"):
            with pytest.raises(UrlRefused):
                await get(made, url)
            with pytest.raises(UrlRefused):
                await made.post(url, json={})
        assert server.connections == []


async def test_a_kept_connection_is_no_way_past_the_guard() -> None:
    """A kept connection is reused only for its own origin, without resolving; a refused URL isn't sent over it."""
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    async with serving(always(HELLO), "site.example.com") as server, client(names) as made:
        url = f"https://site.example.com:{server.port}/"
        for _ in range(2):
            assert (await get(made, url)).text() == "hello"
        assert (len(server.connections), len(server.heads), len(names.asked)) == (1, 2, 1)
        for refused in (url.replace("site.", "user@site."), url.replace("site.", "other.")):
            with pytest.raises(UrlRefused):
                await made.get(refused)
        assert len(server.heads) == 2


async def test_the_next_address_is_tried() -> None:
    """If nothing listens at the first address, the second one is used."""
    names = Names(["127.0.0.9", "127.0.0.1"])
    async with serving(always(HELLO), "site.example.com") as server, client(names) as made:
        assert (await get(made, f"https://site.example.com:{server.port}/")).status == 200


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would resolve the name itself."""
    async with serving(always(HELLO)) as server, serving(always(HELLO)) as proxy, client() as made:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, at(proxy))
        for guard in (made.guard, None):
            async with GuardedClient(guard) as later:
                assert (await get(later, at(server))).text() == "hello"
        assert (len(server.heads), proxy.heads) == (2, [])


async def test_the_operator_s_own_urls_can_go_through_the_environment_s_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The marketplace's list can be fetched from networks whose only way out is a proxy."""
    async with serving(always(HELLO)) as proxy:
        monkeypatch.setenv("http_proxy", at(proxy))
        async with GuardedClient(None, trust_env=True) as made:
            assert (await get(made, "http://marketplace.invalid/list")).text() == "hello"
    assert len(proxy.heads) == 1


async def test_cookies_are_kept_only_where_that_is_asked_for() -> None:
    """Callers share a client, and must not receive each other's cookies."""
    setting = HELLO.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n")
    async with serving(always(setting)) as server, client() as made, GuardedClient(None, keep_cookies=True) as keeping:
        for asking in (made, keeping):
            await get(asking, at(server))
            await get(asking, at(server))
    assert ["Cookie: a=b" in head for head in server.heads] == [False, False, False, True]


async def test_the_operator_s_own_urls_need_no_leave() -> None:
    """Without a guard, the same client connects to any address."""
    async with serving(always(HELLO)) as server, GuardedClient(None, {"Authorization": "Bearer key"}) as made:
        assert (await get(made, at(server))).text() == "hello"
        assert "\r\nAuthorization: Bearer key\r\n" in server.heads[0]


async def test_a_stream_is_read_as_it_comes() -> None:
    """Events are read as they arrive."""
    next_event = asyncio.Event()

    async def talk(connection: Connection) -> None:
        await connection.request()
        await connection.say(OPEN.replace(b"text/plain", b"text/event-stream") + b"\r\ndata: 1\n\n")
        await next_event.wait()
        await connection.say(b"data: 2\n\n")

    async with serving(talk) as server, GuardedClient(UrlGuard(LOOPBACK, ()), {"X-Key": "k"}) as made:
        async with made.stream("GET", at(server)) as response:
            lines = response.aiter_lines()
            assert await anext(lines) == "data: 1"
            next_event.set()
            assert [line async for line in lines if line] == ["data: 2"]
        assert "\r\nX-Key: k\r\n" in server.heads[0]


# Redirects


async def test_redirects_are_followed_within_the_origin() -> None:
    """Up to three redirects are followed, relative or not."""
    targets = {"a": "/b", "b": "c?d=e", "d": "/d"}
    async with serving(redirects(targets)) as server, client() as made:
        targets["c?d=e"] = at(server, "/end")
        assert (await get(made, at(server, "/a"))).text() == "hello"
        assert [head.split()[1] for head in server.heads] == ["/a", "/b", "/c?d=e", "/end"]
        with pytest.raises(FetchFailed, match="more than 3 times"):
            await get(made, at(server, "/d"))


@pytest.mark.parametrize(
    ("place", "host"),
    [
        ("http://10.0.0.1/secret?token=x", "10.0.0.1"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254"),
        ("https://other.example.com/secret?token=x", "other.example.com"),
        ("//other.example.com/secret?token=x", "other.example.com"),
        ("http://127.0.0.1:1/secret?token=x", "127.0.0.1"),
        ("https://127.0.0.1:{port}/secret?token=x", "127.0.0.1"),
        ("http://user:secret@127.0.0.1:{port}/", "127.0.0.1"),
        ("file:///etc/secret", ""),
    ],
)
async def test_a_redirect_elsewhere_is_refused(place: str, host: str) -> None:
    """Another host, port or scheme, an inner address, or a user is refused. The error names the host, not the path."""

    async def talk(connection: Connection) -> None:
        await redirects({"a": place.format(port=server.port)})(connection)

    async with serving(talk) as server, client() as made:
        with pytest.raises(UrlRefused, match=f"redirects elsewhere, to {host}") as refused:
            await get(made, at(server, "/a"))
        assert "secret" not in refused.value.message
        assert "token" not in refused.value.message
        assert len(server.heads) == 1


async def test_the_client_itself_follows_nothing() -> None:
    """With redirects turned on, the guard checks each step."""
    async with serving(redirects({"a": "http://10.0.0.1/"})) as server, client() as made:
        assert (await made.get(at(server, "/a"))).status_code == 302
        with pytest.raises(UrlRefused):
            await made.get(at(server, "/a"), follow_redirects=True)


# Bounds


async def test_a_body_without_end_is_cut() -> None:
    """The body is cut at the limit, and the connection is closed: nothing more is read."""

    async def talk(connection: Connection) -> None:
        await connection.request()
        await connection.say(OPEN + b"\r\n")
        while True:
            await connection.say(b"x" * 65536)

    async with serving(talk) as server, client() as made:
        answer = await get(made, at(server), max_bytes=100_000)
        assert (len(answer.body), answer.truncated) == (100_000, True)
        await server.connections[0].gone.wait()


@pytest.mark.parametrize(("size", "truncated"), [(999, False), (1000, False), (1001, True)])
async def test_what_just_fits_is_whole(size: int, truncated: bool) -> None:
    """A body of exactly the limit isn't cut, compressed or not."""
    for body, head in ((b"x" * size, b""), (gzip.compress(b"x" * size), b"Content-Encoding: gzip\r\n")):
        async with serving(once(OPEN + head + b"\r\n" + body)) as server, client() as made:
            answer = await get(made, at(server))
            assert (len(answer.body), answer.truncated) == (min(size, 1000), truncated)


@pytest.mark.parametrize(("name", "window"), [("gzip", 31), ("deflate", 15)])
async def test_a_bomb_is_cut_before_it_goes_off(name: str, window: int) -> None:
    """64 MiB in 64 KiB: the limit counts decoded bytes, and no more than that is decoded."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    bomb = packer.compress(bytes(64 * 1024 * 1024)) + packer.flush()
    assert len(bomb) < 70_000
    async with serving(once(OPEN + f"Content-Encoding: {name}\r\n\r\n".encode() + bomb)) as server, client() as made:
        tracemalloc.start()
        answer = await get(made, at(server), max_bytes=1000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (answer.body, answer.truncated) == (bytes(1000), True)
        assert peak < 4 * 1024 * 1024
        assert "\r\nAccept-Encoding: gzip\r\n" in server.heads[0]


@pytest.mark.parametrize(
    ("head", "rest", "text"),
    [(gzip.compress(b"hello"), b"x", "hello"), (gzip.compress(b"")[:10], b"\0\0\0\xff\xff", "")],
    ids=["after the end", "empty blocks"],
)
async def test_a_compressed_body_without_end_is_cut(head: bytes, rest: bytes, text: str) -> None:
    """Compressed bytes are bounded, too, if they decode to nothing and so never reach the limit."""

    async def talk(connection: Connection) -> None:
        await connection.request()
        await connection.say(OPEN + b"Content-Encoding: gzip\r\n\r\n" + head)
        while True:
            await connection.say(rest * 10_000)

    async with serving(talk) as server, client() as made:
        answer = await get(made, at(server))
        assert (answer.text(), answer.truncated) == (text, True)
        await server.connections[0].gone.wait()


async def test_compressed_answers_that_are_none_fail() -> None:
    """An encoding that wasn't asked for, and invalid compressed bytes, raise an error; a cut body is marked."""
    for head, body in ((b"br", b"hello"), (b"gzip, gzip", b"hello"), (b"gzip", b"hello, hello")):
        async with serving(once(OPEN + b"Content-Encoding: " + head + b"\r\n\r\n" + body)) as server, client() as made:
            with pytest.raises(FetchFailed):
                await get(made, at(server))
    truncated = gzip.compress(b"hello")[:-4]
    async with serving(once(OPEN + b"Content-Encoding: gzip\r\n\r\n" + truncated)) as server, client() as made:
        answer = await get(made, at(server))
        assert (answer.text(), answer.truncated) == ("hello", True)


async def test_the_whole_fetch_is_bounded_in_time() -> None:
    """A fetch ends in time if the server sends nothing, or a byte now and then, which no read timeout would end."""

    async def silent(connection: Connection) -> None:
        await connection.request()
        await connection.reader.read()

    async def slow(connection: Connection) -> None:
        await connection.request()
        await connection.say(OPEN + b"\r\n")
        while not connection.reader.at_eof():
            await connection.say(b".")
            await asyncio.sleep(0.01)

    for talk in (silent, slow):
        async with serving(talk) as server, client() as made:
            with pytest.raises(FetchFailed, match=r"within 0\.1 s"):
                await get(made, at(server), timeout_s=0.1, max_bytes=10**6)
            await server.connections[0].gone.wait()


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", OPEN + b"Content-Length: 9\r\n\r\nhello"])
async def test_an_answer_that_is_none_fails(answer: bytes) -> None:
    """The error doesn't repeat what the server sent."""
    async with serving(once(answer)) as server, client() as made:
        with pytest.raises(FetchFailed, match="not valid HTTP"):
            await get(made, at(server))


async def test_a_server_that_is_not_there_fails() -> None:
    """The error is the same as for a host that can't be reached."""
    async with serving(always(HELLO)) as server, client() as made:
        url = at(server)
    async with client() as made:
        with pytest.raises(FetchFailed, match="could not be reached"):
            await get(made, url)


@pytest.mark.parametrize(
    ("charset", "body", "truncated", "text"),
    [
        ("utf-8", "é".encode(), False, "é"),
        ("utf-8", "é".encode()[:1], True, ""),
        ("utf-8", "é".encode()[:1], False, "\ufffd"),
        ("iso8859-1", b"\xe9", False, "é"),
        ("utf-16", "é".encode("utf-16"), False, "é"),
    ],
)
def test_a_body_s_text(charset: str, body: bytes, truncated: bool, text: str) -> None:
    """A character that the cut halved is left out; invalid bytes become U+FFFD."""
    assert Fetched(200, "text/plain", body, charset, truncated).text() == text


@pytest.mark.parametrize(
    ("named", "charset"),
    [
        *(("UTF-8", "utf-8"), ("latin1", "iso8859-1"), ("windows-1252", "cp1252"), ("Shift_JIS", "shift_jis")),
        *(("", "utf-8"), ("none-such", "utf-8"), ("idna", "utf-8"), ("punycode", "utf-8"), ("zlib", "utf-8")),
    ],
)
async def test_a_charset_is_one_of_the_web(named: str, charset: str) -> None:
    """Some of Python's codecs decode in quadratic time, raise, or inflate."""
    answer = HELLO.replace(b"text/plain", f'text/plain; charset="{named}"'.encode())
    async with serving(always(answer)) as server, client() as made:
        assert (await get(made, at(server))).charset == charset
