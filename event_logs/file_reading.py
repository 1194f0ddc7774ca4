"""Reads a run's file: how far it is committed, where an event begins, and pages of whole frames."""

import asyncio
import errno
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from errors import AgentStreamError, LogUnavailable
from event_logs.frames import FRAME_END, PAGE_BYTES, page_length

logger = logging.getLogger(__name__)

RECENT_BYTES = 16 * 1024  # of commits kept in memory for readers that keep up; one larger commit is kept up to a page
WINDOW = 16 * 1024  # bytes read in one step of a search
_HEAD = re.compile(rb"id: ([1-9][0-9]*)\nevent: (\w+)\n")  # the first lines of a frame
_HEAD_BYTES = 64  # more than any head has


@contextmanager
def disk_errors(where: str) -> Iterator[None]:
    """Raise `errors.LogUnavailable` for an OSError. Only the server's log gets the error's text."""
    try:
        yield
    except OSError as error:
        logger.warning("the event log failed: %s (%s)", error, where)
        raise LogUnavailable from error


class Extent(NamedTuple):
    """The whole frames of a file: their size in bytes, the last one's number, and whether it is `complete`."""

    size: int
    last_seq: int
    ended: bool


class CommittedRun:
    """The committed part of a run, and the readers that wait for its next commit."""

    def __init__(self, extent: Extent) -> None:
        self.size, self.last_seq, self.ended = extent
        self._failure: type[AgentStreamError] | None = None
        self._recent: deque[bytes] = deque()  # the last commits …
        self._recent_from = self.size  # … and their offset in the file
        self._waiting: list[asyncio.Future[None]] = []

    def show(self, frames: bytes, last_seq: int, ended: bool) -> None:
        """Add frames that the file has, and wake the readers."""
        self.size += len(frames)
        self.last_seq = last_seq
        self.ended = ended
        self._failure = None
        self._keep_recent(frames)
        self._wake()

    def fail(self, failure: type[AgentStreamError] = LogUnavailable) -> None:
        """Raise this error in readers that have read everything so far, until a commit works again."""
        self._failure = failure
        self._wake()

    async def change(self) -> None:
        """Wait for the next commit or failure. Raise the run's failure if it has one already."""
        if self._failure is not None:
            raise self._failure
        change = asyncio.get_running_loop().create_future()  # an asyncio.Condition would lock for each reader
        self._waiting.append(change)
        await change

    def recent(self, offset: int) -> bytes:
        """Return everything from this offset on, a page at most, or nothing if the file has to be read."""
        if offset < self._recent_from:
            return b""
        if self.size - len(self._recent[-1]) == offset:
            return self._recent[-1]  # the usual case of a reader that keeps up: no bytes are copied
        return b"".join(self._recent)[offset - self._recent_from :]

    def _keep_recent(self, frames: bytes) -> None:
        if len(frames) > PAGE_BYTES:  # readers get it in pages, which are read from the file
            self._recent.clear()
            self._recent_from = self.size
            return
        self._recent.append(frames)
        while self.size - self._recent_from > RECENT_BYTES and len(self._recent) > 1:
            self._recent_from += len(self._recent.popleft())

    def _wake(self) -> None:
        for reader in self._waiting:
            if not reader.done():
                reader.set_result(None)
        self._waiting.clear()


class RunFile:
    """A run's file. It is opened when it is first needed, and then stays readable after a rename or an unlink."""

    def __init__(self, run_id: str, open_file: Callable[[], int]) -> None:
        self._run_id = run_id
        self._open = open_file
        self._opened: int | None = None
        self._is_within_frame = False  # where the last page ended

    def extent(self) -> Extent:
        """Return the extent of the whole frames. Bytes after them, left by a process that was killed, don't count."""
        with disk_errors(self._run_id):
            return _extent(self._fd)

    def offset(self, run: CommittedRun, after: int) -> int:
        """Return the offset of the first event after number `after`."""
        if after == 0:
            return 0
        if after >= run.last_seq:
            return run.size
        with disk_errors(self._run_id):
            return _offset(self._fd, run.size, after + 1)

    def page(self, offset: int, size: int) -> bytes:
        """Return the page that begins at `offset`, reading no further than `size`. Call this for pages in order."""
        with disk_errors(self._run_id):
            frames = _pread(self._fd, min(PAGE_BYTES, size - offset), offset)
        length = page_length(frames, within=self._is_within_frame, more=offset + len(frames) < size)
        page = frames[:length]
        self._is_within_frame = not page.endswith(FRAME_END)
        return page

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None

    @property
    def _fd(self) -> int:
        if self._opened is None:
            self._opened = self._open()
        return self._opened


def _extent(fd: int) -> Extent:
    """Search backwards for the last frame with a sound head, so a long file isn't read whole."""
    end = _last_end(fd, os.fstat(fd).st_size)
    while end:
        start = _last_end(fd, end - 1)
        if head := _HEAD.match(os.pread(fd, _HEAD_BYTES, start)):
            return Extent(end, int(head[1]), head[2] == b"complete")
        end = start
    return Extent(0, 0, ended=False)


def _last_end(fd: int, before: int) -> int:
    """Return the end of the last frame that ends at or before this offset, or 0 if there is none."""
    while before > 1:
        start = max(0, before - WINDOW)
        found = os.pread(fd, before - start, start).rfind(FRAME_END)
        if found >= 0:
            return start + found + len(FRAME_END)
        before = start + 1  # the windows overlap by a byte, since a FRAME_END may lie across two of them
    return 0


def _offset(fd: int, size: int, seq: int) -> int:
    """Return the offset of an event's frame, by binary search, since the numbers rise along the file."""
    low, high = 0, size  # the frame begins at `low` (where some frame begins) or after it, and before `high`
    while high - low > WINDOW:
        middle = (low + high) // 2
        start = _next_start(fd, middle, high)
        if start == high or _seq(fd, start) > seq:
            high = middle
        else:
            low = start
    # One window is left. It is read with the whole head of a frame that begins just before its end.
    frames = FRAME_END + _pread(fd, min(high + _HEAD_BYTES, size) - low, low)
    found = frames.find(b"%bid: %d\n" % (FRAME_END, seq))
    if found < 0:
        raise OSError(errno.EIO, f"there is no event {seq}")
    return low + found


def _next_start(fd: int, low: int, high: int) -> int:
    """Return the offset of the first frame that begins at `low` or after it, or `high` if there is none before."""
    at = low - len(FRAME_END)
    while at < high - len(FRAME_END):
        part = _pread(fd, min(WINDOW, high - at), at)
        found = part.find(FRAME_END)
        if found >= 0:
            return at + found + len(FRAME_END)
        at += len(part) - 1  # overlap by a byte, as in `_last_end`
    return high


def _seq(fd: int, start: int) -> int:
    head = _HEAD.match(os.pread(fd, _HEAD_BYTES, start))
    if head is None:
        raise OSError(errno.EIO, f"there is no frame at {start}")
    return int(head[1])


def _pread(fd: int, length: int, offset: int) -> bytes:
    part = os.pread(fd, length, offset)
    if len(part) < length:
        raise OSError(errno.EIO, f"the file ends at {offset + len(part)}")
    return part
