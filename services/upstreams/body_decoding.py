"""Decompresses a body that a server or a proxy has compressed, although the request asked for none.

The bytes decide, not the header: some servers send `Content-Encoding: none`, and some proxies decompress a body and
leave the header, or the other way round.
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
UNCOMPRESSED_STARTS = (b"data", b"event", b"id", b"retry", b":", b"{", b"[", b"<", b"\xef\xbb")
"""The beginnings of bodies that are not compressed: an event's field, a comment, JSON, a page, a byte order mark."""
MIN_START = 5  # bytes that are enough to recognise a compression
SLICE = 64 * 1024  # bytes that are decompressed at once: one kilobyte may become a megabyte


async def decoded(read: Read, encoding: str) -> tuple[bytes, Read]:
    """Return the first piece of a body, and a function that reads the other pieces. Both are empty at its end.

    Raise `httpx.HTTPError`, which is `httpx.DecodingError` for an encoding that is not supported.
    """
    data = await read()
    while len(data) < MIN_START and (more := await read()):
        data += more
    if (window := _window(data, encoding)) is None:
        return data, read
    inflated = _Inflated(read, data, window).read
    return await inflated(), inflated


def _window(data: bytes, encoding: str) -> int | None:
    """Return zlib's `wbits` for a body that begins with these bytes. None if it is not compressed."""
    if data.startswith(GZIP):
        return 16 + zlib.MAX_WBITS
    if data[:1] == b"\x78" and int.from_bytes(data[:2]) % 31 == 0:
        return zlib.MAX_WBITS
    if not data.strip() or data.lstrip().startswith(UNCOMPRESSED_STARTS):
        return None
    if encoding == "deflate":
        return -zlib.MAX_WBITS  # without zlib's header, which some servers leave out
    if encoding in ("br", "zstd", "compress") or data.startswith(ZSTD):
        raise httpx.DecodingError(f"the body's encoding is not supported: {encoding or 'zstd'}")
    return None


class _Inflated:
    """Decompresses a body a slice at a time, and lets other tasks run between two slices of one read."""

    def __init__(self, read: Read, data: bytes, window: int) -> None:
        self._read = read
        self._packed = data
        self._window = window
        self._inflate = zlib.decompressobj(window)
        self._full = False  # the last slice was full, so zlib may hold more

    async def read(self) -> bytes:
        """Return the next slice, empty at the end of the body. Raise `httpx.HTTPError`."""
        try:
            while True:
                if self._packed or self._full:
                    await asyncio.sleep(0)  # one read of 128 KiB may become 128 MiB
                elif data := await self._read():
                    self._packed = data
                else:
                    return self._inflate.flush()
                if unpacked := self._slice():
                    return unpacked
        except zlib.error as error:
            raise httpx.DecodingError("the body can't be decompressed") from error

    def _slice(self) -> bytes:
        unpacked = self._inflate.decompress(self._packed, SLICE)
        self._packed = self._inflate.unconsumed_tail
        self._full = len(unpacked) == SLICE
        if self._inflate.eof:  # a server that compresses each event by itself begins a new stream
            self._packed = self._inflate.unused_data
            self._inflate, self._full = zlib.decompressobj(self._window), False
        return unpacked
