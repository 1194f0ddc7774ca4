"""Writes a run's file: one `write` for each commit, and a failed one is cut back to the last whole frame."""

import asyncio
import errno
import logging
import os
from contextlib import suppress
from typing import Literal

from errors import LogUnavailable
from event_logs.base import Fenced
from event_logs.file_flushing import Disk
from event_logs.file_reading import CommittedRun
from event_logs.frames import FrameQueue

logger = logging.getLogger(__name__)

Fsync = Literal["end", "commit", "never"]
"""Which commits are flushed to the disk before they are shown: those with a durable event, all, or none.

The durable events are the end of a run, its waits, and what a person decided. Other commits are in the page cache when
they are shown, which outlives the process but not the machine.
"""


class FileWriter:
    """Writes one run's frames to its file, after those that are committed."""

    def __init__(self, run_id: str, run: CommittedRun, fd: int, disk: Disk, fsync: Fsync) -> None:
        """Own `fd`, which appends to the file."""
        self._run_id = run_id
        self._run = run
        self._fd = fd
        self._disk = disk
        self._is_new = True  # until its name is known to be on the disk
        self._fsync = fsync
        self._queue = FrameQueue(run_id, run.last_seq)
        self._fenced = False
        self._is_torn = False  # whether the file may have more than the committed frames, and must be cut first
        self._pending = b""  # numbered frames that aren't committed …
        self._pending_ends = False  # … whether `complete` is one of them …
        self._pending_has_durable = False  # … and whether a durable event is
        self._syncing: asyncio.Task[bool] | None = None
        self.put = self._queue.put  # the bound method itself, since each token passes here: one call less

    @property
    def last_seq(self) -> int:
        """See `EventWriter`."""
        return self._run.last_seq

    async def commit(self) -> None:
        """See `EventWriter`. If it is cancelled while it waits for the disk, it continues in the background."""
        await self.settled()
        if self._fenced:
            raise Fenced(self._run_id)
        self._take_queued()
        if not self._pending:
            return
        self._write()
        if not self._must_sync():
            self._show()
            return
        self._syncing = asyncio.create_task(self._sync(), name=f"fsync {self._run_id}")
        if not await asyncio.shield(self._syncing):
            raise LogUnavailable

    async def fence(self) -> None:
        """Finish the commit under way, and refuse all further events, because another writer takes over."""
        self._fenced = True
        self._queue.close()
        await self.aclose()

    async def aclose(self) -> None:
        """Close the file. Later commits fail."""
        await self.settled()
        self._close()

    async def settled(self) -> None:
        """Wait until no commit waits for the disk, so that commits follow one another."""
        while self._syncing is not None:
            await asyncio.shield(self._syncing)

    def _take_queued(self) -> None:
        """Move the queued events to the pending frames, behind those that a failed commit left there."""
        self._pending_has_durable = self._pending_has_durable or self._queue.has_durable
        if frames := self._queue.take():
            self._pending = b"".join((self._pending, *frames))
            self._pending_ends = self._queue.ended

    def _must_sync(self) -> bool:
        """Whether the pending frames have to reach the disk before they are shown."""
        return self._fsync == "commit" or (self._fsync == "end" and self._pending_has_durable)

    def _write(self) -> None:
        """Append the pending frames with one `write`, in the event loop: to the page cache it takes microseconds."""
        try:
            self._cut()
            self._is_torn = True  # until the write is known to be whole: it may fail after a part of the bytes
            if os.write(self._fd, self._pending) < len(self._pending):
                raise OSError(errno.ENOSPC, "the write was cut short")  # noqa: TRY301 - handled like any other failure
            self._is_torn = False
        except OSError as error:
            self._fail(error)
            raise LogUnavailable from error

    def _cut(self) -> None:
        """Cut off what a failed write or fsync left after the committed frames.

        These bytes were never shown. They stay pending, and the next commit writes them again with the same numbers,
        so without the cut the file would have them twice, or begin a frame in the middle of another.
        """
        if self._is_torn:
            os.ftruncate(self._fd, self._run.size)
            self._is_torn = False

    def _fail(self, error: OSError) -> None:
        logger.warning("the log of run %s can't be written: %s", self._run_id, error)
        with suppress(OSError):  # if this fails, too, the file is cut before the next write
            self._cut()
        self._run.fail()

    def _show(self) -> None:
        """Show the pending frames to the readers. From now on they are committed."""
        frames, self._pending, self._pending_has_durable = self._pending, b"", False
        self._run.show(frames, self._queue.last_seq, self._pending_ends)
        if self._pending_ends:
            self._close()

    async def _sync(self) -> bool:
        """Flush the file to the disk, then show the pending frames. Return whether that worked."""
        try:
            await self._disk.flush(self._fd, is_new=self._is_new)
            self._is_new = False
        except OSError as error:
            self._is_torn = True  # the frames are in the file, but stay pending and will be written again
            self._fail(error)
            return False
        else:
            self._show()
            return True
        finally:
            self._syncing = None

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
