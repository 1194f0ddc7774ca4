"""Flushes files to the disk in threads, each thread all those that wait by the time it runs.

A hop to a thread and back costs more CPU than the flush itself, so many runs that end at once share one, and the folder
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
    """A file that waits. `flushed` gets its result, or the `OSError` that the file or its folder failed with."""

    fd: int
    is_new: bool
    flushed: asyncio.Future[None]


class Disk:
    """Flushes the files of one folder, of which this has a descriptor."""

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._waiting: deque[Flush] = deque()
        self._has_thread = False  # whether a thread is about to take what waits

    async def flush(self, fd: int, *, is_new: bool) -> None:
        """Return when the file is on the disk, with its name if it `is_new`. Raise `OSError` if that failed."""
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
            of_folder = _error_of(self._folder)  # a new file's name is in the folder, and would be lost without it
            errors = [
                error or (of_folder if flush.is_new else None) for flush, error in zip(taken, errors, strict=True)
            ]
        if taken:
            loop.call_soon_threadsafe(_report, taken, errors)


def _error_of(fd: int) -> OSError | None:
    """Flush what a descriptor stands for, and return what it failed with."""
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
