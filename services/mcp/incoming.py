"""Collects one message from an MCP server, in bounded time and memory.

A message that exceeds a limit is dropped as it arrives. Its first and last bytes are kept, to look there for the id of
the request that it answers: that request gets an error in its place.
"""

import json
import re

from json_codec.scan import JsonLimits, JsonScan, JsonTooLarge, slices
from services.mcp.failures import UNREADABLE
from services.mcp.json_rpc import RequestId, error_message, sound_message, sound_messages

MAX_BYTES = 6 * 1024 * 1024  # more than a model is shown; parsers take 40 ms at most, for a text of escapes
LIMITS = JsonLimits(values=60_000, depth=128)  # the SDK's parser takes 20 ms for this many values
EDGE = 1024  # bytes that are kept of the start and of the end of a message that is too large

ID = rb'"id"\s*:\s*(-?\d{1,18}|"[^"\\]{0,200}")\s*'
ID_AT_START = re.compile(rb"\s*\{[^{}\[\]]*?" + ID + rb",")
ID_AT_END = re.compile(rb"[}\]\d\"le]\s*,[^{}\[\]]*?" + ID + rb"(?:,[^{}\[\]]*)?\}\s*$")


class Incoming:
    """A message that arrives piece by piece."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self._scan = JsonScan(LIMITS)
        self._exceeded: str | None = None  # the limit that it exceeds, in words
        self._edges: tuple[bytes, bytes] | None = None

    def __len__(self) -> int:
        """Return the number of bytes so far."""
        return self._size

    def add(self, data: bytes) -> None:
        """Add the next bytes."""
        for piece in slices(data):
            self._size += len(piece)
            if self._edges is not None:
                self._edges = self._edges[0], (self._edges[1] + piece)[-EDGE:]
                continue
            self._pieces.append(piece)
            self._check(piece)

    @property
    def too_large(self) -> bool:
        """Whether it exceeds a limit."""
        return self._exceeded is not None

    def read(self, request: RequestId | None = None) -> bytes | None:
        """Return the message as the SDK accepts it, None if it can't be read.

        `request` is the id of the request that it answers for certain, as in the body of an HTTP response.
        """
        return sound_message(b"".join(self._pieces), request) if not self.too_large else None

    def read_all(self, unnamed: RequestId | None = None) -> list[bytes]:
        """Return the messages of a batch, or of several JSON values without a line break, each on one line.

        `unnamed` is the id of the request that an error without an id answers, if that is known.
        """
        return sound_messages(b"".join(self._pieces), unnamed) if not self.too_large else []

    def refusal(self, request: RequestId, reason: str = "it is not JSON-RPC") -> bytes:
        """Make an error in place of the message. It names the limit that the message exceeds, or this reason."""
        return error_message(request, UNREADABLE, self._exceeded or reason)

    @property
    def is_brace(self) -> bool:
        """Whether it is one brace so far: the first line of an object that is written over several lines."""
        return self._size <= len(b"{\r") and b"".join(self._pieces).strip() == b"{"

    @property
    def answered(self) -> RequestId | None:
        """The id of the request that it answers, if its edges show it. Used for messages that can't be read."""
        return _id(*(self._edges or _edges_of(b"".join(self._pieces))))

    def mentions(self, word: bytes) -> bool:
        """Return whether its first bytes contain a lower-case word, in any case."""
        return word in b"".join(self._pieces)[:EDGE].lower()

    def _check(self, piece: bytes) -> None:
        try:
            self._scan.feed(piece)
        except JsonTooLarge:
            self._drop(f"it holds more than {LIMITS.values} values, or nests deeper than {LIMITS.depth}")
        if self._size > self._max_bytes and not self.too_large:
            self._drop(f"it is larger than {self._max_bytes // 1024} KiB")

    def _drop(self, reason: str) -> None:
        self._exceeded, self._edges = reason, _edges_of(b"".join(self._pieces))
        self._pieces.clear()


def _edges_of(data: bytes) -> tuple[bytes, bytes]:
    return data[:EDGE], data[-EDGE:]


def _id(start: bytes, end: bytes) -> RequestId | None:
    """Find the id of a message whose edges alone are known, before or after its large part."""
    for find, edge in ((ID_AT_START.match, start), (ID_AT_END.search, end)):
        if b'"jsonrpc"' in edge and (found := find(edge)):
            request: RequestId = json.loads(found[1])
            return request
    return None
