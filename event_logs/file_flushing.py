"""Flushes files to the disk in threads. One call in a thread flushes all files that wait by then.

A hop to a thread and back costs more CPU than the flush itself, so runs that end at the same time share one. The folder
of their new files is flushed once for all of them.
"""

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

FSYNC_THREADS = ThreadPoolExecutor(8, thread_name_prefix="fsync")  # a pool of its own, so no other work delays a fsync


class Flush(NamedTuple):
    """A file that waits to be flushed. `flushed` gets the `OSError` if the file or its folder fails."""

    fd: int
    is_new: bool
    flushed: asyncio.Future[None]


class Disk:
    """Flushes the files of one folder, which is given as a descriptor."""

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._waiting: deque[Flush] = deque()
        self._has_thread = False  # whether a call in a thread is about to take the waiting files

    async def flush(self, fd: int, *, is_new: bool) -> None:
        """Wait until the file is on the disk, and its name as well if it `is_new`. Raise `OSError` if that fails."""
        loop = asyncio.get_running_loop()
        flush = Flush(fd, is_new, loop.create_future())
        # In this order, no file is left behind: the thread clears the mark before it looks for files.
        self._waiting.append(flush)
        if not self._has_thread:
            self._has_thread = True
            FSYNC_THREADS.submit(self._flush_waiting, loop)
        await flush.flushed

    def _flush_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        self._has_thread = False
        taken: list[Flush] = []
        with suppress(IndexError):
            while True:
                taken.append(self._waiting.popleft())
        errors = [_error_of(flush.fd) for flush in taken]
        if any(flush.is_new and error is None for flush, error in zip(taken, errors, strict=True)):
            folder_error = _error_of(self._folder)  # the name of a new file is in the folder, and is lost with it
            errors = [
                error or (folder_error if flush.is_new else None) for flush, error in zip(taken, errors, strict=True)
            ]
        if taken:
            loop.call_soon_threadsafe(_report, taken, errors)


def _error_of(fd: int) -> OSError | None:
    """Flush a file or folder, and return the error if that fails."""
    try:
        os.fsync(fd)
    except OSError as error:
        return error
    return None


def _report(flushes: Sequence[Flush], errors: Sequence[OSError | None]) -> None:
    for flush, error in zip(flushes, errors, strict=True):
        if flush.flushed.done():
            continue
        if error is None:
            flush.flushed.set_result(None)
        else:
            flush.flushed.set_exception(error)
