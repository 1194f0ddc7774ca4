"""An HTTP client that connects only where a `UrlGuard` allows.

The guard checks the URL of each request. It also resolves the host of each new connection, which then goes to that
address. The URL itself is unchanged, so the Host header and the certificate are those of the name.
"""

import ssl
from collections.abc import Iterable, Mapping
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore2
import httpx2

from services.outbound.url_guard import UrlGuard

CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 300.0  # between two pieces of a response: an MCP server may be silent while a tool works
OTHER_TIMEOUT_S = 30.0
MAX_CONNECTIONS = 100
MAX_REDIRECTS = 3
USER_AGENT = "agent-stream"

HTTP_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL)
"""The exceptions that a `GuardedClient` raises for a failed request, beside `UrlRefused`."""


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
        # httpx2 has no parameter for a network backend, so its connection pool is replaced.
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
        *,
        verify: ssl.SSLContext | None = None,
        keep_cookies: bool = False,
        trust_env: bool = False,
    ) -> None:
        self.guard = guard
        context = verify or trusted()
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        super().__init__(
            headers={"User-Agent": USER_AGENT, **(headers or {})},
            timeout=httpx2.Timeout(OTHER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, read=SILENCE_TIMEOUT_S),
            cookies=None if keep_cookies else no_cookies,
            transport=GuardedTransport(guard, context) if guard else None,
            verify=context,
            follow_redirects=False,
            max_redirects=MAX_REDIRECTS,
            trust_env=trust_env,
        )
