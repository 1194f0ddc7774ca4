"""Counts the readers of runs, and ends a run that has had none for too long."""

import asyncio
from collections.abc import AsyncGenerator, Callable


class RunReaders:
    """Counts the readers of one run, and calls `abandon` once it has had none for `grace_s` seconds.

    With `may_be_unattended`, the run needs no reader.
    """

    def __init__(self, grace_s: float, abandon: Callable[[], None], *, may_be_unattended: bool) -> None:
        self._grace_s = grace_s
        self._abandon = abandon
        self._may_be_unattended = may_be_unattended
        self._grace: asyncio.TimerHandle | None = None
        self._paused = False
        self._had_one = False
        self.count = 0

    @property
    def are_missing(self) -> bool:
        """Whether the run has no reader and needs one."""
        return self.count == 0 and not (self._may_be_unattended or self._paused)

    @property
    def have_left(self) -> bool:
        """Whether the run had readers and has none now. False while it is suspended, since they may come back."""
        return self._had_one and self.count == 0 and not self._paused

    def attach(self) -> None:
        """Count a reader that has connected."""
        self.count += 1
        self._had_one = True
        self._end_grace()

    def detach(self) -> None:
        """Count a reader that has disconnected. The grace begins with the last one."""
        self.count -= 1
        self.begin_grace()

    def note_poll(self) -> None:
        """Restart the grace: a client that polls has read the events so far."""
        self.attach()
        self.detach()

    def begin_grace(self) -> None:
        """Abandon the run after the grace, unless a reader attaches or the run needs none."""
        if self.are_missing and self._grace is None:
            self._grace = asyncio.get_running_loop().call_later(self._grace_s, self._grace_is_over)

    def pause(self) -> None:
        """Stop the grace: the run is suspended or has ended."""
        self._paused = True
        self._end_grace()

    def resume(self) -> None:
        """Watch the readers again, after a suspension.

        No grace begins here, since the caller that answered wants the run to continue. It begins when a reader attaches
        and leaves again.
        """
        self._paused = False
        self._had_one = self.count > 0

    def allow_unattended(self) -> None:
        """Let the run continue without a reader from now on."""
        self._may_be_unattended = True
        self._end_grace()

    def _grace_is_over(self) -> None:
        self._grace = None
        self._abandon()

    def _end_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None


class OpenStreams:
    """Counts the streams that this process is sending."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = asyncio.Event()

    def add(self, change: int) -> None:
        """Add 1 for a stream that begins, or -1 for one that ends."""
        self._count += change
        self._changed.set()

    async def down_to(self, fewest: Callable[[], int]) -> None:
        """Wait until there are no more streams than `fewest` returns."""
        while self._count > fewest():
            self._changed.clear()
            await self._changed.wait()


class RunStream:
    """A run's frames from some event on. Enter it to read them. The run has this reader until the block ends."""

    def __init__(
        self, run_id: str, frames: AsyncGenerator[bytes, None], readers: RunReaders | None, streams: OpenStreams
    ) -> None:
        self.run_id = run_id
        self.frames = frames
        self._readers = readers
        self._streams = streams

    async def __aenter__(self) -> AsyncGenerator[bytes, None]:
        """Return the frames, in pages."""
        self._streams.add(1)
        if self._readers is not None:
            self._readers.attach()
        return self.frames

    async def __aexit__(self, *_: object) -> None:
        """Close the frames and detach the reader."""
        self._streams.add(-1)
        if self._readers is not None:
            self._readers.detach()
            self._readers = None
        await self.frames.aclose()
