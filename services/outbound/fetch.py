"""Fetches a URL within limits of time and size, whatever the server sends."""

import asyncio
import codecs
import logging
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from errors import UrlRefused
from services.outbound.client import HTTP_ERRORS, MAX_REDIRECTS, GuardedClient

logger = logging.getLogger(__name__)

MAX_OVERHEAD = 64 * 1024  # bytes of a compressed body beyond its limit: empty blocks never decode to too much
WEB_CHARSETS = re.compile(
    r"utf-8|utf-16(-[bl]e)?|ascii|iso8859-\d+|cp(125\d|866|874|932|949)|koi8-[ru]|mac-roman|gb\w+|big5\w*|euc_\w+"
    r"|shift_jis|iso2022_jp"
)


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
