"""The event log in this process's memory: nothing survives a restart; the oldest finished runs make room."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from errors import RunExpired, RunNotFound
from event_logs.base import Fenced, LogPosition
from event_logs.frames import FrameQueue

PAGE_BYTES = 64 * 1024  # what a page of several events holds at most
REMEMBERED = 100_000  # evicted runs that are still told from unknown ones


@dataclass(eq=False, slots=True)
class _RunLog:
    frames: list[bytes] = field(default_factory=list)
    size: int = 0
    ended: bool = False
    waiting: list[asyncio.Future[None]] = field(default_factory=list)


class MemoryWriter:
    """Writes one run's events to the memory log."""

    def __init__(self, log: "MemoryEventLog", run_id: str, run: _RunLog) -> None:
        self._log = log
        self._run_id = run_id
        self._run = run
        self._queue = FrameQueue(run_id)
        self.put = self._queue.put

    @property
    def last_seq(self) -> int:
        """See `EventWriter`."""
        return len(self._run.frames)

    async def commit(self) -> None:
        """See `EventWriter`."""
        frames = self._queue.take()
        if not frames:
            return
        for frame in frames:
            self._run.frames.append(frame)
            self._run.size += len(frame)
        self._run.ended = self._queue.ended
        for reader in self._run.waiting:
            if not reader.done():
                reader.set_result(None)
        self._run.waiting.clear()
        if self._run.ended:
            self._log.retain(self._run_id)


class MemoryEventLog:
    """All runs of this process, and as many finished ones as fit in `max_bytes` of frames."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._runs: dict[str, _RunLog] = {}
        self._finished: OrderedDict[str, int] = OrderedDict()
        self._finished_bytes = 0
        self._evicted: OrderedDict[str, None] = OrderedDict()

    async def create(self, run_id: str) -> MemoryWriter:
        """See `EventLog`."""
        if run_id in self._runs or run_id in self._evicted:
            raise Fenced(run_id)
        run = self._runs[run_id] = _RunLog()
        return MemoryWriter(self, run_id, run)

    async def position(self, run_id: str) -> LogPosition:
        """See `EventLog`."""
        run = self._find(run_id)
        return LogPosition(len(run.frames), run.ended)

    async def read(self, run_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """See `EventLog`."""
        run = self._find(run_id)
        loop = asyncio.get_running_loop()
        while True:
            while after < len(run.frames):
                start, after = after, _page_end(run.frames, after)
                yield run.frames[start] if after == start + 1 else b"".join(run.frames[start:after])
            if run.ended:
                return
            news = loop.create_future()
            run.waiting.append(news)
            await news

    async def check(self) -> None:
        """Memory can always be written."""

    async def aclose(self) -> None:
        """Nothing is held open."""

    def retain(self, run_id: str) -> None:
        """Count a run that has ended, and evict the oldest until the ended ones fit."""
        size = self._runs[run_id].size
        self._finished[run_id] = size
        self._finished_bytes += size
        while self._finished_bytes > self._max_bytes and len(self._finished) > 1:
            oldest, size = self._finished.popitem(last=False)
            self._finished_bytes -= size
            del self._runs[oldest]
            self._evicted[oldest] = None
            if len(self._evicted) > REMEMBERED:
                self._evicted.popitem(last=False)

    def _find(self, run_id: str) -> _RunLog:
        if run := self._runs.get(run_id):
            return run
        raise RunExpired if run_id in self._evicted else RunNotFound


def _page_end(frames: list[bytes], start: int) -> int:
    """Where the page ends that begins with this frame; it has one at least."""
    size = 0
    for end in range(start, len(frames)):
        size += len(frames[end])
        if size > PAGE_BYTES and end > start:
            return end
    return len(frames)
