"""A body's bytes as they were before a server or a proxy compressed them, though it was asked not to.

The bytes count, not the header: `Content-Encoding: none` is no encoding, and some proxies unpack a body and leave the
header, or the other way round.
"""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable

import httpx

logger = logging.getLogger(__name__)

Read = Callable[[], Awaitable[bytes]]

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
BEGINNINGS = (b"data", b"event", b"id", b"retry", b":", b"{", b"[", b"<", b"\xef\xbb")
"""What a body begins with that is not compressed: a field of an event, a comment, JSON, a page, a byte order mark."""
ENOUGH = 5  # bytes that tell one from another
SLICE = 64 * 1024  # bytes that are unpacked at once: a kilobyte can become a megabyte


async def decoded(read: Read, encoding: str) -> tuple[bytes, Read]:
    """What the first read of a body brings, and what reads the rest. Empty at the end of the body, as `read` is.

    Raise `httpx.HTTPError`: `httpx.DecodingError` for an encoding that is not read here.
    """
    data = await read()
    while len(data) < ENOUGH and (more := await read()):
        data += more
    if (window := _window(data, encoding)) is None:
        return data, read
    inflated = _Inflated(read, data, window).read
    return await inflated(), inflated


def _window(data: bytes, encoding: str) -> int | None:
    """zlib's `wbits` for what begins with these bytes; None for what is not compressed."""
    if data.startswith(GZIP):
        return 16 + zlib.MAX_WBITS
    if data[:1] == b"\x78" and int.from_bytes(data[:2]) % 31 == 0:
        return zlib.MAX_WBITS
    if not data.strip() or data.lstrip().startswith(BEGINNINGS):
        return None
    if encoding == "deflate":
        return -zlib.MAX_WBITS  # without zlib's header, as some servers understand it
    if encoding in ("br", "zstd", "compress") or data.startswith(ZSTD):
        raise httpx.DecodingError(f"a body encoded {encoding or 'zstd'}")
    return None


class _Inflated:
    """Unpacks a body a slice at a time, and lets others run between two slices of one read."""

    def __init__(self, read: Read, data: bytes, window: int) -> None:
        self._read = read
        self._packed = data
        self._window = window
        self._inflate = zlib.decompressobj(window)
        self._full = False  # whether the last slice may not have been all

    async def read(self) -> bytes:
        """The next slice; empty at the end of the body. Raise `httpx.HTTPError`."""
        try:
            while True:
                if self._packed or self._full:
                    await asyncio.sleep(0)
                elif data := await self._read():
                    self._packed = data
                else:
                    return self._inflate.flush()
                if unpacked := self._slice():
                    return unpacked
        except zlib.error as error:
            raise httpx.DecodingError("a body that can't be unpacked") from error

    def _slice(self) -> bytes:
        unpacked = self._inflate.decompress(self._packed, SLICE)
        self._packed = self._inflate.unconsumed_tail
        self._full = len(unpacked) == SLICE
        if self._inflate.eof:  # servers that pack each event by itself begin another one
            self._packed = self._inflate.unused_data
            self._inflate, self._full = zlib.decompressobj(self._window), False
        return unpacked
