"""The HTTP client under the SDK: one pool of connections for all upstreams, nothing kept between requests."""

import logging
import ssl
from functools import cache, partial
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx

from services.upstreams.body_decoding import Read, decoded
from services.upstreams.http_pool import CONNECT_TIMEOUT_S, KEEPALIVE_S, READ, PooledTransport

logger = logging.getLogger(__name__)

LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))

TIMEOUT = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S)

LONGEST_WAIT_S = 5  # for another try within one request; a longer one is the caller's to decide, who is told of it

MAX_WHOLE_BYTES = 16 * 1024 * 1024  # of an answer that is read in one: a refusal, or a list of models
ENCODING = frozenset(("content-encoding", "content-length", "transfer-encoding"))


class UpstreamClient(httpx.AsyncClient):
    """For the SDK's `http_client`. Make it in a running loop. No deadline but to connect.

    Requests go out as the SDK makes them and answers come back as they are: no redirects, no cookies, no headers of
    httpx's own. A proxy is taken from the environment, for all but loopback addresses.
    """

    def __init__(self, max_connections: int) -> None:
        super().__init__(transport=_Transport(max_connections), timeout=TIMEOUT)

    def build_request(self, method: str, url: httpx.URL | str, **parts: Any) -> httpx.Request:
        """The request, with nothing of the client's merged into it."""
        extensions = {**(parts.pop("extensions", None) or {}), "timeout": TIMEOUT.as_dict()}
        parts.pop("timeout", None)
        return httpx.Request(method, url, extensions=extensions, **parts)

    async def send(self, request: httpx.Request, *, stream: bool = False, **_: Any) -> httpx.Response:
        """One exchange. Raise `httpx.TransportError`."""
        if self.is_closed:
            raise RuntimeError("The client is closed.")
        response = await self._transport.handle_async_request(request)
        response.request = request
        if response.is_error and _wait_s(response) > LONGEST_WAIT_S:
            response.headers["x-should-retry"] = "false"  # which the SDK obeys
        return response if stream and response.is_success else await _whole(response)


def _wait_s(response: httpx.Response) -> float:
    """The seconds that the upstream asks to wait; 0 where it doesn't say."""
    said = response.headers.get("retry-after", "")
    return float(said) if said.isdecimal() else 0


async def _whole(response: httpx.Response) -> httpx.Response:
    """The response with its body, unpacked by what its bytes are: proxies write encodings that aren't the body's.

    A refusal counts by its status, also where its body can't be read. Raise `httpx.HTTPError` for another body.
    """
    body = bytearray()
    try:
        data, read = await decoded(reader(response), response.headers.get("content-encoding", "").strip().lower())
        while data and len(body) < MAX_WHOLE_BYTES:
            body += data
            data = await read()
    except httpx.HTTPError as error:
        if response.is_success:
            raise
        logger.warning("the body of the upstream's refusal can't be read: %r", error)
    finally:
        await response.aclose()
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in ENCODING]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=response.request)


def reader(response: httpx.Response) -> Read:
    """Reads what has arrived of the body since the last read; waits for some, and gives b"" at the end.

    In place of httpx's iterators, which are four layers for every read. It raises `httpx.HTTPError`.
    """
    read: Read | None = response.extensions.get(READ)
    return read or partial(anext, response.aiter_raw(), b"")


@cache
def tls() -> ssl.SSLContext:
    """Who is trusted, by the environment and the operating system; read once, since that takes some 80 ms."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Transport(httpx.AsyncBaseTransport):
    """Straight to the upstream, or through the proxy that the environment names for it."""

    def __init__(self, max_connections: int) -> None:
        self._ssl = tls()
        self._limits = httpx.Limits(max_connections=max_connections, keepalive_expiry=KEEPALIVE_S)
        self._direct = PooledTransport(max_connections, self._ssl)
        self._ways: dict[tuple[str, str], httpx.AsyncBaseTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and answer with its response, the body unread."""
        target = request.url.scheme, request.url.host
        way = self._ways.get(target)
        if way is None:
            way = self._ways[target] = self._way(*target)
        return await way.handle_async_request(request)

    def _way(self, scheme: str, host: str) -> httpx.AsyncBaseTransport:
        proxies = getproxies()
        proxy = proxies.get(scheme) or proxies.get("all")
        if proxy is None or host in LOOPBACK or proxy_bypass(host):
            return self._direct
        return httpx.AsyncHTTPTransport(verify=self._ssl, limits=self._limits, proxy=proxy)

    async def aclose(self) -> None:
        """Close every connection."""
        for way in {self._direct, *self._ways.values()}:
            await way.aclose()
