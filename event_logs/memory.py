"""Stores events in the memory of this process. Nothing survives a restart, and the oldest finished runs make room."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field

from errors import RunExpired, RunNotFound
from event_logs.base import Fenced, LogPosition
from event_logs.frames import PAGE_BYTES, FrameQueue, page_length

REMEMBERED = 100_000  # ids of evicted runs, which are reported as expired instead of unknown


@dataclass(eq=False, slots=True)
class _RunLog:
    queue: FrameQueue  # the queue of the run's present writer; another writer has another queue, and is fenced
    frames: list[bytes] = field(default_factory=list)
    size: int = 0
    ended: bool = False
    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    def wake(self) -> None:
        """Wake the readers that wait for a change."""
        for reader in self.waiting:
            if not reader.done():
                reader.set_result(None)
        self.waiting.clear()

    def fence(self, run_id: str) -> None:
        """Fence the present writer and make a queue for the next one."""
        self.queue.close()
        self.queue = FrameQueue(run_id, len(self.frames))


class MemoryWriter:
    """Writes one run's events to the memory log."""

    def __init__(self, run_id: str, run: _RunLog) -> None:
        self._run_id = run_id
        self._run = run
        self._queue = run.queue
        self.put = self._queue.put  # the bound method itself, since each token passes here: one call less

    @property
    def last_seq(self) -> int:
        """See `EventWriter`."""
        return len(self._run.frames)

    async def commit(self) -> None:
        """See `EventWriter`."""
        run = self._run
        if run.queue is not self._queue:
            raise Fenced(self._run_id)
        frames = self._queue.take()
        if not frames:
            return
        for frame in frames:
            run.frames.append(frame)
            run.size += len(frame)
        run.ended = self._queue.ended
        run.wake()

    async def aclose(self) -> None:
        """See `EventWriter`."""
        if self._run.queue is self._queue and not self._run.ended:
            self._run.fence(self._run_id)


class MemoryEventLog:
    """The unarchived runs of this process, and the latest archived ones up to `max_bytes` of frames."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._runs: dict[str, _RunLog] = {}
        self._archived: OrderedDict[str, int] = OrderedDict()
        self._archived_bytes = 0
        self._evicted: OrderedDict[str, None] = OrderedDict()

    async def create(self, run_id: str) -> MemoryWriter:
        """See `EventLog`."""
        if run_id in self._runs or run_id in self._evicted:
            raise Fenced(run_id)
        run = self._runs[run_id] = _RunLog(FrameQueue(run_id))
        return MemoryWriter(run_id, run)

    async def take_over(self, run_id: str) -> MemoryWriter:
        """See `EventLog`."""
        run = self._find(run_id)
        if run.ended:
            raise Fenced(run_id)
        run.fence(run_id)
        return MemoryWriter(run_id, run)

    async def unarchived(self) -> Sequence[str]:
        """See `EventLog`. The oldest come first."""
        return [run_id for run_id in self._runs if run_id not in self._archived]

    async def archive(self, run_id: str) -> None:
        """See `EventLog`. Raise `ValueError` if the run has not ended."""
        size = self._find_ended(run_id).size
        if run_id not in self._archived:
            self._archived[run_id] = size
            self._archived_bytes += size
            self._make_room()

    async def expire(self) -> None:
        """Do nothing: retention is by size, and `archive` applies it."""

    async def delete(self, run_id: str) -> None:
        """See `EventLog`. Raise `ValueError` if the run is under way."""
        run = self._find(run_id)
        if run.frames:
            self._find_ended(run_id)
        self._archived_bytes -= self._archived.pop(run_id, 0)
        del self._runs[run_id]
        run.fence(run_id)
        run.wake()

    async def position(self, run_id: str) -> LogPosition:
        """See `EventLog`."""
        run = self._find(run_id)
        return LogPosition(len(run.frames), run.ended)

    async def read(self, run_id: str, after: int, *, follow: bool = True) -> AsyncGenerator[bytes, None]:
        """See `EventLog`."""
        run = self._find(run_id)
        loop = asyncio.get_running_loop()
        while True:
            while after < len(run.frames):
                start, after = after, _page_end(run.frames, after)
                if after > start + 1:
                    yield b"".join(run.frames[start:after])
                    continue
                for page in _pages(run.frames[start]):
                    yield page
            if run.ended or not follow:
                return
            change = loop.create_future()
            run.waiting.append(change)
            await change
            if not run.frames:  # the run was deleted before its first commit
                raise RunNotFound

    async def check(self) -> None:
        """Do nothing: memory can always be written."""

    async def aclose(self) -> None:
        """Do nothing: nothing is held open."""

    def _make_room(self) -> None:
        """Evict the oldest archived runs until the rest fits. The last one stays, whatever its size."""
        while self._archived_bytes > self._max_bytes and len(self._archived) > 1:
            oldest, size = self._archived.popitem(last=False)
            self._archived_bytes -= size
            del self._runs[oldest]
            self._evicted[oldest] = None
            if len(self._evicted) > REMEMBERED:
                self._evicted.popitem(last=False)

    def missing(self, run_id: str) -> RunNotFound | RunExpired:
        """See `EventLog`. The time of an id has no meaning here: runs are deleted when memory is short."""
        return RunNotFound()

    def _find(self, run_id: str) -> _RunLog:
        if run := self._runs.get(run_id):
            return run
        raise RunExpired if run_id in self._evicted else RunNotFound

    def _find_ended(self, run_id: str) -> _RunLog:
        run = self._find(run_id)
        if not run.ended:
            raise ValueError(f"{run_id} has not ended")
        return run


def _page_end(frames: list[bytes], start: int) -> int:
    """Return the index after the last frame of the page that begins with frame `start`. It has one frame at least."""
    size = 0
    for end in range(start, len(frames)):
        size += len(frames[end])
        if size > PAGE_BYTES and end > start:
            return end
    return len(frames)


def _pages(frame: bytes) -> Iterator[bytes]:
    """Split one frame into as many pages as it needs."""
    start = 0
    while start < len(frame):
        part = frame[start : start + PAGE_BYTES]
        page = part[: page_length(part, within=start > 0, more=start + PAGE_BYTES < len(frame))]
        start += len(page)
        yield page
