"""The writer of a run's file: one write for each commit, cut back when it fails."""

import asyncio
import errno
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Literal

from errors import LogUnavailable
from event_logs.base import Fenced
from event_logs.file_reading import CommittedRun
from event_logs.frames import FrameQueue

logger = logging.getLogger(__name__)

THREADS = ThreadPoolExecutor(8, thread_name_prefix="fsync")  # which nobody else can take
Fsync = Literal["end", "commit", "never"]
"""What is on the disk itself before it is shown: a run's end, its waits and what is decided; each commit; nothing."""


class FileWriter:
    """Writes one run's frames to its file, from the end of what is committed on."""

    def __init__(self, run_id: str, run: CommittedRun, fd: int, folder: int, fsync: Fsync) -> None:
        """`fd` appends, and is the writer's from now on; `folder` is a descriptor of the folder that holds the file."""
        self._run_id = run_id
        self._run = run
        self._fd = fd
        self._folder: int | None = folder
        self._fsync = fsync
        self._queue = FrameQueue(run_id, run.last_seq)
        self._fenced = False
        self._torn = False  # the file may hold more than what is committed, and has to be cut before it is written to
        self._unshown = b""  # numbered frames that aren't committed …
        self._unshown_ends = False  # … whether `complete` is one of them …
        self._unshown_settles = False  # … and whether one has to last
        self._syncing: asyncio.Task[bool] | None = None
        self.put = self._queue.put

    @property
    def last_seq(self) -> int:
        """See `EventWriter`."""
        return self._run.last_seq

    async def commit(self) -> None:
        """See `EventWriter`. Cancelled while it waits for the disk, it goes on in the background."""
        await self.settled()
        if self._fenced:
            raise Fenced(self._run_id)
        self._unshown_settles = self._unshown_settles or self._queue.settles
        if frames := self._queue.take():
            self._unshown = b"".join((self._unshown, *frames))
            self._unshown_ends = self._queue.ended
        if not self._unshown:
            return
        self._write()
        if self._fsync == "never" or (self._fsync == "end" and not self._unshown_settles):
            self._show()
            return
        self._syncing = asyncio.create_task(self._sync(), name=f"fsync {self._run_id}")
        if not await asyncio.shield(self._syncing):
            raise LogUnavailable

    async def fence(self) -> None:
        """Another writer takes over: this one keeps what it is committing, and writes no more."""
        self._fenced = True
        self._queue.close()
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the file. A commit fails from now on."""
        await self.settled()
        self._close()

    async def settled(self) -> None:
        """Come back when no commit waits for the disk. They take turns."""
        while self._syncing is not None:
            await asyncio.shield(self._syncing)

    def _write(self) -> None:
        try:
            self._cut()
            self._torn = True
            if os.write(self._fd, self._unshown) < len(self._unshown):
                raise OSError(errno.ENOSPC, "the write was cut short")  # noqa: TRY301 - one way to fail
            self._torn = False
        except OSError as error:
            self._fail(error)
            raise LogUnavailable from error

    def _cut(self) -> None:
        if self._torn:
            os.ftruncate(self._fd, self._run.size)
            self._torn = False

    def _fail(self, error: OSError) -> None:
        logger.warning("the log of %s can't be written: %s", self._run_id, error)
        with suppress(OSError):  # then it is cut before the next write
            self._cut()
        self._run.fail()

    def _show(self) -> None:
        frames, self._unshown, self._unshown_settles = self._unshown, b"", False
        self._run.show(frames, self._queue.last_seq, self._unshown_ends)
        if self._unshown_ends:
            self._close()

    async def _sync(self) -> bool:
        """Show what is written once it is on the disk; tell whether it is."""
        try:
            await asyncio.get_running_loop().run_in_executor(THREADS, self._reach_the_disk)
        except OSError as error:
            self._torn = True
            self._fail(error)
            return False
        else:
            self._show()
            return True
        finally:
            self._syncing = None

    def _reach_the_disk(self) -> None:
        os.fsync(self._fd)
        if self._folder is not None:  # a new file's name lasts once its folder is written
            os.fsync(self._folder)
            self._folder = None

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
