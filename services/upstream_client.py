"""The HTTP client under the SDK: aiohttp's connections, one pool for all upstreams, nothing kept between requests.

httpx's own pool costs more with every open connection, and cookies, header look-ups and body wrappers cost more than
the request itself. Here aiohttp's response is handed on with as little as possible in between.
"""

from collections.abc import AsyncIterator

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

CONNECT_TIMEOUT_S = 10.0
KEEPALIVE_S = 30.0
READ = "agent_stream.read"
LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))


class UpstreamClient(httpx.AsyncClient):
    """For the SDK's `http_client`. Make it in a running loop. No redirects, no cookies, no deadline but to connect.

    A proxy is taken from the environment, for all but loopback addresses.
    """

    def __init__(self, max_connections: int) -> None:
        super().__init__(
            transport=_Transport(max_connections), timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S), cookies=None
        )

    @property
    def cookies(self) -> httpx.Cookies:
        """Always empty: an API sets none that should come back."""
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        pass


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep nothing."""


_NO_COOKIES = _NoCookies()


async def read(response: httpx.Response) -> bytes:
    """What has arrived of the body since the last read; waits for some, and is empty at the end.

    In place of httpx's iterators, which are four layers for every read. Raise `httpx.ReadError`.
    """
    try:
        data: bytes = await response.extensions[READ]()
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError(str(error)) from error
    return data


class _Body(httpx.AsyncByteStream):
    """The response's body as httpx iterates it."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while data := await self._response.content.readany():
                yield data
        except (aiohttp.ClientError, OSError) as error:
            raise httpx.ReadError(str(error)) from error

    async def aclose(self) -> None:
        """Close the connection, unless the body has been read whole: then it is in the pool again."""
        self._response.close()


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, max_connections: int) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
        connector = aiohttp.TCPConnector(
            limit=max_connections, keepalive_timeout=KEEPALIVE_S, ssl=httpx.create_ssl_context()
        )
        self._direct, self._proxied = (
            aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=trust_env,
            )
            for trust_env in (False, True)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and answer with its response, the body unread."""
        session = self._direct if request.url.host in LOOPBACK else self._proxied
        headers = CIMultiDict((name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw)
        try:
            response = await session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=headers,
                data=request.content or None,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise httpx.ConnectError(str(error)) from error
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Body(response),
            request=request,
            extensions={READ: response.content.readany},
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._direct.close()
        await self._proxied.close()
