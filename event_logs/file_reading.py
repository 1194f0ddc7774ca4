"""A run's file as its readers see it: how far it is committed, where an event begins, and pages of whole frames."""

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

RECENT_BYTES = 16 * 1024  # of commits that readers are given from memory; a page, where the last one alone is larger
WINDOW = 16 * 1024  # bytes looked at in one step of a search
_HEAD = re.compile(rb"id: ([1-9][0-9]*)\nevent: (\w+)\n")
_HEAD_BYTES = 64  # no head is longer


@contextmanager
def disk_errors(where: str) -> Iterator[None]:
    """Raise `errors.LogUnavailable` for what the operating system refuses; its words stay in the server's log."""
    try:
        yield
    except OSError as error:
        logger.warning("the event log failed: %s (%s)", error, where)
        raise LogUnavailable from error


class Extent(NamedTuple):
    """How far the whole frames of a file reach: in bytes, in events, and whether the last one is `complete`."""

    size: int
    last_seq: int
    ended: bool


class CommittedRun:
    """What readers may see of a run, and who waits for more. Each commit adds to it."""

    def __init__(self, extent: Extent) -> None:
        self.size, self.last_seq, self.ended = extent
        self._failure: type[AgentStreamError] | None = None
        self._recent: deque[bytes] = deque()  # the last commits …
        self._recent_from = self.size  # … and where in the file they begin
        self._waiting: list[asyncio.Future[None]] = []

    def show(self, frames: bytes, last_seq: int, ended: bool) -> None:
        """The file holds these frames now: let the readers have them."""
        self.size += len(frames)
        self.last_seq = last_seq
        self.ended = ended
        self._failure = None
        self._keep(frames)
        self._wake()

    def fail(self, why: type[AgentStreamError] = LogUnavailable) -> None:
        """There may be no more: whoever follows the run is told so after what there is, until a commit works again."""
        self._failure = why
        self._wake()

    async def news(self) -> None:
        """Come back when there may be more. Raise what the run has failed with."""
        if self._failure is not None:
            raise self._failure
        news = asyncio.get_running_loop().create_future()
        self._waiting.append(news)
        await news

    def recent(self, offset: int) -> bytes:
        """All from there on, which is a page at most; nothing where the file has to be read."""
        if offset < self._recent_from:
            return b""
        if self.size - len(self._recent[-1]) == offset:
            return self._recent[-1]
        return b"".join(self._recent)[offset - self._recent_from :]

    def _keep(self, frames: bytes) -> None:
        if len(frames) > PAGE_BYTES:
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
    """A run's file, opened when it is first needed; from then on neither a rename nor an unlink takes it away."""

    def __init__(self, run_id: str, open_file: Callable[[], int]) -> None:
        self._run_id = run_id
        self._open = open_file
        self._opened: int | None = None
        self._within = False

    def extent(self) -> Extent:
        """How far it reaches. What a dying writer left after the last whole frame does not count."""
        with disk_errors(self._run_id):
            return _extent(self._fd)

    def offset(self, run: CommittedRun, after: int) -> int:
        """Where the events after that one begin."""
        if after == 0:
            return 0
        if after >= run.last_seq:
            return run.size
        with disk_errors(self._run_id):
            return _offset(self._fd, run.size, after + 1)

    def page(self, offset: int, size: int) -> bytes:
        """The page that begins there; `size` is how far one may read. Pages are asked for in their order."""
        with disk_errors(self._run_id):
            frames = _pread(self._fd, min(PAGE_BYTES, size - offset), offset)
        length = page_length(frames, within=self._within, more=offset + len(frames) < size)
        page = frames[:length]
        self._within = not page.endswith(FRAME_END)
        return page

    def close(self) -> None:
        """Let go of the file."""
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None

    @property
    def _fd(self) -> int:
        if self._opened is None:
            self._opened = self._open()
        return self._opened


def _extent(fd: int) -> Extent:
    end = _last_end(fd, os.fstat(fd).st_size)
    while end:
        start = _last_end(fd, end - 1)
        if head := _HEAD.match(os.pread(fd, _HEAD_BYTES, start)):
            return Extent(end, int(head[1]), head[2] == b"complete")
        end = start
    return Extent(0, 0, ended=False)


def _last_end(fd: int, before: int) -> int:
    """Where the last frame ends that does so there or before; 0 where none does."""
    while before > 1:
        start = max(0, before - WINDOW)
        found = os.pread(fd, before - start, start).rfind(FRAME_END)
        if found >= 0:
            return start + found + len(FRAME_END)
        before = start + 1  # a frame's end may lie across two windows
    return 0


def _offset(fd: int, size: int, seq: int) -> int:
    """Where an event's frame begins, which is within `size`. Numbers rise, so that a few looks are enough."""
    low, high = 0, size  # it begins at `low`, where a frame does, or after that; and before `high`
    while high - low > WINDOW:
        middle = (low + high) // 2
        start = _next_start(fd, middle, high)
        if start == high or _seq(fd, start) > seq:
            high = middle
        else:
            low = start
    frames = FRAME_END + _pread(fd, min(high + _HEAD_BYTES, size) - low, low)
    found = frames.find(b"%bid: %d\n" % (FRAME_END, seq))
    if found < 0:
        raise OSError(errno.EIO, f"there is no event {seq}")
    return low + found


def _next_start(fd: int, low: int, high: int) -> int:
    """Where the first frame begins that does so at `low` or after it; `high` where none does before that."""
    at = low - len(FRAME_END)
    while at < high - len(FRAME_END):
        part = _pread(fd, min(WINDOW, high - at), at)
        found = part.find(FRAME_END)
        if found >= 0:
            return at + found + len(FRAME_END)
        at += len(part) - 1
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
