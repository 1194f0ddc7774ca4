"""An HTTP client that connects only where a `UrlGuard` allows, and a bounded fetch with it.

The guard checks the URL of each request. It also resolves the host of each new connection, which then goes to that
address. The URL itself is unchanged, so the Host header and the certificate are those of the name.
"""

import asyncio
import codecs
import logging
import re
import ssl
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore2
import httpx2

from errors import UrlRefused
from services.outbound.url_guard import UrlGuard

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 300.0  # between two pieces of a response: an MCP server may be silent while a tool works
OTHER_TIMEOUT_S = 30.0
MAX_CONNECTIONS = 100
MAX_REDIRECTS = 3
MAX_OVERHEAD = 64 * 1024  # bytes of a compressed body beyond its limit: empty blocks never decode to too much
USER_AGENT = "agent-stream"
WEB_CHARSETS = re.compile(
    r"utf-8|utf-16(-[bl]e)?|ascii|iso8859-\d+|cp(125\d|866|874|932|949)|koi8-[ru]|mac-roman|gb\w+|big5\w*|euc_\w+"
    r"|shift_jis|iso2022_jp"
)


HTTP_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL)
"""What a `GuardedClient` raises for a request that fails, beside `UrlRefused`."""


class FetchFailed(Exception):
    """A fetch failed. The message is safe to show: it holds no text of the server's."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A response. `body` is decompressed bytes in `charset`, and only their beginning if `truncated`."""

    status: int
    content_type: str
    body: bytes
    charset: str
    truncated: bool

    def text(self) -> str:
        """Return the body as text. Invalid bytes become U+FFFD, and a character that was cut is left out."""
        return codecs.getincrementaldecoder(self.charset)("replace").decode(self.body, final=not self.truncated)


@cache
def trusted() -> ssl.SSLContext:
    """Return the certificates that clients trust. They are read once, because that takes tens of milliseconds."""
    return httpx2.create_ssl_context()


class PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to the addresses that the guard returns for a host."""

    def __init__(self, guard: UrlGuard) -> None:
        self._guard = guard
        self._tcp = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Try the addresses in order, each for an equal part of the timeout."""
        *others, last = (await self._guard.locate(host, port)).addresses
        part = timeout and timeout / (len(others) + 1)
        for address in others:
            try:
                return await self._tcp.connect_tcp(address, port, part, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._tcp.connect_tcp(last, port, part, local_address, socket_options)


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Has the guard check each request and each connection."""

    def __init__(self, guard: UrlGuard, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._guard = guard
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=verify,
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS // 5,
            keepalive_expiry=5.0,
            network_backend=PinnedBackend(guard),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request unless its URL is refused. Connections kept alive were checked when they were made."""
        self._guard.check(str(request.url))
        return await super().handle_async_request(request)


class GuardedClient(httpx2.AsyncClient):
    """A client for URLs that callers and models name. Raises `UrlRefused` for one that is not allowed.

    It follows no redirects by itself, and keeps no cookies unless `keep_cookies` is set, because callers share it. A
    response as a whole has no time limit, because a stream may be long. With `guard=None` it is for URLs of the
    operator's, and goes to any. `trust_env` then makes it use the proxy that the environment names; with a guard it
    never does, because the proxy would resolve names itself.
    """

    def __init__(
        self,
        guard: UrlGuard | None,
        headers: Mapping[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
        *,
        verify: ssl.SSLContext | None = None,
        keep_cookies: bool = False,
        trust_env: bool = False,
    ) -> None:
        self.guard = guard
        context = verify or trusted()
        super().__init__(
            headers={"User-Agent": USER_AGENT, **(headers or {})},
            timeout=timeout or httpx2.Timeout(OTHER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, read=SILENCE_TIMEOUT_S),
            auth=auth,
            cookies=None if keep_cookies else CookieJar(DefaultCookiePolicy(allowed_domains=())),
            transport=GuardedTransport(guard, context) if guard else None,
            verify=context,
            follow_redirects=False,
            max_redirects=MAX_REDIRECTS,
            trust_env=trust_env,
        )


async def fetch(
    client: GuardedClient, url: str, *, max_bytes: int, timeout_s: float, headers: Mapping[str, str] | None = None
) -> Fetched:
    """GET a URL within `timeout_s` seconds, and return at most `max_bytes` of its decompressed body.

    Follow at most three redirects, only within the URL's origin. Raise `UrlRefused` or `FetchFailed`.
    """
    if client.guard is not None:
        client.guard.check(url)
    try:
        async with asyncio.timeout(timeout_s):
            return await _fetch(client, url, max_bytes, headers)
    except (TimeoutError, httpx2.TimeoutException):
        raise FetchFailed(f"The server did not answer in full within {timeout_s:g} s.") from None
    except (*HTTP_ERRORS, zlib.error) as error:
        logger.info("a fetch failed: %r", error)
        raise FetchFailed("The server could not be reached, or its answer is not valid HTTP.") from None


async def _fetch(client: GuardedClient, url: str, max_bytes: int, headers: Mapping[str, str] | None) -> Fetched:
    request = client.build_request("GET", url, headers={"Accept-Encoding": "gzip", **(headers or {})})
    for _ in range(MAX_REDIRECTS + 1):
        response = await client.send(request, stream=True)
        try:
            following = response.next_request
            if following is None:
                return await _read(response, max_bytes)
            if _origin(following.url) != _origin(request.url) or following.url.userinfo:
                host = following.url.raw_host.decode("ascii", "replace")[:253]
                raise UrlRefused(f"The server redirects elsewhere, to {host}: redirects are followed within an origin.")
            request = following
        finally:
            await response.aclose()
    raise FetchFailed(f"The server redirects more than {MAX_REDIRECTS} times.")


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


async def _read(response: httpx2.Response, max_bytes: int) -> Fetched:
    """Read and decompress a body up to its limit. Bytes after the end of a compressed body are not read.

    The body is decompressed here, and not by httpx, because a small one can decode to gigabytes.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
        raise FetchFailed("The server sent an encoding that it was not asked for.")
    inflate = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
    body, whole = bytearray(), True
    async for piece in response.aiter_raw():
        ended = inflate is not None and inflate.eof
        if not ended:  # zlib would keep bytes after the end, and copy all of them for each piece
            body += inflate.decompress(piece, max_bytes + 1 - len(body)) if inflate else piece
        if ended or len(body) > max_bytes or response.num_bytes_downloaded > 2 * max_bytes + MAX_OVERHEAD:
            whole = False
            break
    if inflate is not None:
        whole = whole and inflate.eof and not inflate.unused_data
    return Fetched(
        status=response.status_code,
        content_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
        body=bytes(body[:max_bytes]),
        charset=_charset(response),
        truncated=not whole,
    )


def _charset(response: httpx2.Response) -> str:
    """Return the charset of the response if the web uses it: not all of Python's codecs are safe for foreign bytes."""
    try:
        name = codecs.lookup(response.charset_encoding or "utf-8").name
    except LookupError:
        return "utf-8"
    return name if WEB_CHARSETS.fullmatch(name) else "utf-8"
