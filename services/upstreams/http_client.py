"""The HTTP client below the SDK: one pool of connections for all upstreams, and no state between requests."""

import logging
import ssl
from functools import cache, partial
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx

from services.upstreams.body_decoding import Read, decoded
from services.upstreams.http_pool import CONNECT_TIMEOUT_S, KEEPALIVE_S, READ_EXTENSION, PooledTransport

logger = logging.getLogger(__name__)

LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))

TIMEOUT = httpx.Timeout(None, connect=CONNECT_TIMEOUT_S)
MAX_RETRY_AFTER_S = 5  # the SDK retries after a shorter wait; a longer one is reported to the caller
MAX_WHOLE_BYTES = 16 * 1024 * 1024  # of a body that is read at once: a refusal, or a list of models
BODY_HEADERS = frozenset(("content-encoding", "content-length", "transfer-encoding"))


class UpstreamClient(httpx.AsyncClient):
    """A client for the SDK's `http_client`. Make it in a running loop. Only connecting has a deadline.

    Requests are sent as the SDK makes them, and responses are returned unchanged: no redirects, no cookies, no headers
    of httpx's own. A proxy in the environment is used for all but loopback addresses.
    """

    def __init__(self, max_connections: int) -> None:
        super().__init__(transport=_Transport(max_connections), timeout=TIMEOUT)

    def build_request(self, method: str, url: httpx.URL | str, **parts: Any) -> httpx.Request:
        """Make a request without merging settings of the client into it, which takes httpx about twice the time."""
        extensions = {**(parts.pop("extensions", None) or {}), "timeout": TIMEOUT.as_dict()}
        parts.pop("timeout", None)
        return httpx.Request(method, url, extensions=extensions, **parts)

    async def send(self, request: httpx.Request, *, stream: bool = False, **_: Any) -> httpx.Response:
        """Send a request and return its response, whose body is unread if `stream`. Raise `httpx.TransportError`."""
        if self.is_closed:
            raise RuntimeError("The client is closed.")
        response = await self._transport.handle_async_request(request)
        response.request = request
        if response.is_error and _retry_after_s(response) > MAX_RETRY_AFTER_S:
            response.headers["x-should-retry"] = "false"  # the SDK obeys this header
        return response if stream and response.is_success else await _whole(response)


def _retry_after_s(response: httpx.Response) -> float:
    """Return the seconds that the upstream asks to wait; 0 if it doesn't."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else 0


async def _whole(response: httpx.Response) -> httpx.Response:
    """Read the body and return the response with it. The body's bytes show its encoding: headers of proxies may lie.

    A refusal counts by its status even if its body can't be read. Raise `httpx.HTTPError` for any other body.
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
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in BODY_HEADERS]
    return httpx.Response(response.status_code, headers=headers, content=bytes(body), request=response.request)


def reader(response: httpx.Response) -> Read:
    """Return a function that waits for the next bytes of the body and returns all that have arrived; b"" at the end.

    It replaces httpx's iterators, which are four layers for every read. It raises `httpx.HTTPError`.
    """
    read: Read | None = response.extensions.get(READ_EXTENSION)
    return read or partial(anext, response.aiter_raw(), b"")


@cache
def tls() -> ssl.SSLContext:
    """Load the certificates that the environment and the operating system trust, once: it takes about 80 ms."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Transport(httpx.AsyncBaseTransport):
    """Sends requests to the upstream itself, or through the proxy that the environment names for it."""

    def __init__(self, max_connections: int) -> None:
        self._ssl = tls()
        self._limits = httpx.Limits(max_connections=max_connections, keepalive_expiry=KEEPALIVE_S)
        self._direct = PooledTransport(max_connections, self._ssl)
        self._transports: dict[tuple[str, str], httpx.AsyncBaseTransport] = {}  # by scheme and host

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and return its response, with the body unread."""
        target = request.url.scheme, request.url.host
        transport = self._transports.get(target)
        if transport is None:  # reading the environment's proxies takes about 0.1 ms
            transport = self._transports[target] = self._transport_to(*target)
        return await transport.handle_async_request(request)

    def _transport_to(self, scheme: str, host: str) -> httpx.AsyncBaseTransport:
        proxies = getproxies()
        proxy = proxies.get(scheme) or proxies.get("all")
        if proxy is None or host in LOOPBACK or proxy_bypass(host):
            return self._direct
        return httpx.AsyncHTTPTransport(verify=self._ssl, limits=self._limits, proxy=proxy)

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in {self._direct, *self._transports.values()}:
            await transport.aclose()
