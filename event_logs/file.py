"""Stores events in files. A run's file holds its frames exactly as clients get them.

lock                        locked by the one server that uses the directory
active/run_….sse            a run that is not archived yet
2026-11-22/run_….sse        an archived run, by the UTC day that is encoded in its id
"""

import asyncio
import errno
import logging
import os
import re
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import closing, suppress
from functools import lru_cache, partial
from pathlib import Path

from errors import LogUnavailable, RunExpired, RunNotFound
from event_logs.base import Fenced, LogPosition
from event_logs.directory_lock import locked
from event_logs.file_flushing import Disk
from event_logs.file_reading import CommittedRun, Extent, RunFile, disk_errors
from event_logs.file_writing import FileWriter, Fsync

logger = logging.getLogger(__name__)

DAY_S = 24 * 60 * 60
_RUN_ID = re.compile(r"run_([0-9a-f]{12})[0-9a-f]{20}")  # a UUIDv7: its first 48 bits are milliseconds since 1970
_FILE = re.compile(r"run_[0-9a-f]{32}\.sse")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_SUFFIX = ".sse"
_PROBE = b"\n" * 4096  # a whole block: a few bytes may fit into the inode, even on a full disk
_OWNER_ONLY = 0o600


class FileEventLog:
    """The runs of one server. Events that a reader has seen survive the process, and with `fsync` a power cut.

    An archived run is kept until the whole UTC day of its id is older than `retention_s` seconds. `clock` returns the
    seconds since 1970.
    """

    def __init__(
        self,
        directory: Path,
        *,
        retention_s: float,
        fsync: Fsync = "end",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Create and lock the directory. Raise `DirectoryInUse`, or `OSError` if it can't be created."""
        self._directory = directory
        self._active = directory / "active"
        for folder in (directory, self._active):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._retention_s = retention_s
        self._fsync: Fsync = fsync
        self._clock = clock
        self._runs: dict[str, CommittedRun] = {}  # those in `active` that were written or read by this process
        self._writers: dict[str, FileWriter] = {}
        self._closed = False
        self._lock = locked(directory)
        # All files are opened relative to this descriptor: the kernel looks up one name instead of a whole path.
        self._folder = os.open(self._active, os.O_RDONLY | os.O_DIRECTORY)
        self._disk = Disk(self._folder)

    async def create(self, run_id: str) -> FileWriter:
        """See `EventLog`. Raise `RunNotFound` if this isn't a valid run id."""
        with disk_errors(run_id):  # an existing file in `active` is found by O_EXCL, below
            if self._expired(run_id) or self._exists(_archived(run_id)):
                raise Fenced(run_id)
        run = CommittedRun(Extent(0, 0, ended=False))
        writer = self._writer(run_id, run, os.O_CREAT | os.O_EXCL)
        self._runs[run_id] = run
        return writer

    async def take_over(self, run_id: str) -> FileWriter:
        """See `EventLog`."""
        run = self._run(run_id)
        # The former writer may be committing, even the run's end, and another call may take over meanwhile: so look
        # again after each wait.
        while not run.ended and (former := self._writers.get(run_id)):
            await former.fence()
            if self._writers.get(run_id) is former:
                del self._writers[run_id]
        if run.ended:
            raise Fenced(run_id)
        return self._writer(run_id, run)

    async def unarchived(self) -> Sequence[str]:
        """See `EventLog`. The oldest come first."""
        with disk_errors("active"):
            return sorted(file.stem for file in self._active.iterdir() if _FILE.fullmatch(file.name))

    async def archive(self, run_id: str) -> None:
        """See `EventLog`. Raise `ValueError` if the run has not ended."""
        if not self._run(run_id).ended:
            raise ValueError(f"{run_id} has not ended")
        with disk_errors(run_id):
            self._move(_active(run_id), _archived(run_id))
        self._forget(run_id)

    async def expire(self) -> None:
        """See `EventLog`. Runs in `active` stay."""
        with disk_errors("retention"):
            await asyncio.to_thread(_remove_days, self._directory, _folder_name(self._first_kept_day()))

    async def delete(self, run_id: str) -> None:
        """See `EventLog`. Raise `ValueError` if the run is under way."""
        run = self._run(run_id)
        writer = self._writers.get(run_id)
        if writer is not None:
            await writer.settled()  # a commit under way may be the run's first event, or its end
        if run.last_seq > 0 and not run.ended:
            raise ValueError(f"{run_id} has not ended")
        with disk_errors(run_id):
            for name in (_active(run_id), _archived(run_id)):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._folder)
        self._forget(run_id)
        run.fail(RunNotFound)
        if writer is not None:
            await writer.fence()

    async def position(self, run_id: str) -> LogPosition:
        """See `EventLog`. Raise `errors.LogUnavailable` if the file can't be read."""
        run = self._run(run_id)
        return LogPosition(run.last_seq, run.ended)

    async def read(self, run_id: str, after: int, *, follow: bool = True) -> AsyncGenerator[bytes, None]:
        """See `EventLog`."""
        with closing(RunFile(run_id, partial(self._open, run_id))) as file:
            run = self._runs.get(run_id) or self._look(run_id, file)
            while follow and run.last_seq < after and not run.ended:
                await run.change()
            offset = file.offset(run, after)
            # `offset` is all that a reader keeps, so a slow reader costs no memory. One that keeps up gets each commit
            # from memory and never opens the file. Between the size's check and `change` nothing is awaited, so no
            # commit is missed, however many come while the caller is busy with a page.
            while True:
                while offset < run.size:
                    page = run.recent(offset) or file.page(offset, run.size)
                    offset += len(page)
                    yield page
                if run.ended or not follow:
                    return
                await run.change()

    async def check(self) -> None:
        """See `EventLog`."""
        probe = self._active / "probe"
        with disk_errors("check"):
            fd = os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, _OWNER_ONLY)
            try:
                if os.write(fd, _PROBE) < len(_PROBE):
                    raise OSError(errno.ENOSPC, "the write was cut short")
            finally:
                os.close(fd)
                probe.unlink()

    async def aclose(self) -> None:
        """See `EventLog`. Raise `LogUnavailable` in readers that wait. Idempotent."""
        for writer in list(self._writers.values()):
            await writer.aclose()
        for run in self._runs.values():
            run.fail()
        if not self._closed:
            self._closed = True
            os.close(self._folder)
            self._folder = -1
            os.close(self._lock)

    def _run(self, run_id: str) -> CommittedRun:
        if run := self._runs.get(run_id):
            return run
        with closing(RunFile(run_id, partial(self._open, run_id))) as file:
            return self._look(run_id, file)

    def _look(self, run_id: str, file: RunFile) -> CommittedRun:
        """Find out what a file holds that this process hasn't written, and remember it for a run in `active`."""
        run = CommittedRun(file.extent())
        with disk_errors(run_id):
            archived = not self._exists(_active(run_id))
        if archived:
            if not run.ended:
                run.fail()  # its end was lost in a power cut and never comes, so its readers must not wait for it
        else:
            self._runs[run_id] = run
        return run

    def _open(self, run_id: str) -> int:
        """Open a run's file for reading. In this order, a run that is archived meanwhile is found all the same."""
        for name in (_active(run_id), _archived(run_id)):
            with suppress(FileNotFoundError):
                return os.open(name, os.O_RDONLY, dir_fd=self._folder)
        raise self.missing(run_id)

    def _writer(self, run_id: str, run: CommittedRun, flags: int = 0) -> FileWriter:
        """Return a writer that appends to the committed frames. Raise `Fenced` if `flags` ask for a new file."""
        if self._closed:
            raise LogUnavailable
        with disk_errors(run_id):
            try:
                fd = os.open(_active(run_id), os.O_WRONLY | os.O_APPEND | flags, _OWNER_ONLY, dir_fd=self._folder)
            except FileExistsError:
                raise Fenced(run_id) from None
            try:
                if not flags & os.O_EXCL:  # a killed process may have left a part of a frame
                    os.ftruncate(fd, run.size)
            except OSError:
                os.close(fd)
                raise
        writer = self._writers[run_id] = FileWriter(run_id, run, fd, self._disk, self._fsync)
        return writer

    def _move(self, source: str, target: str) -> None:
        """Rename a file, unless that was done before. Create the folder of the day if it is missing."""
        while True:  # retention, in a thread, may remove the folder between these two steps
            with suppress(FileNotFoundError):
                return os.rename(source, target, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            if not self._exists(source):
                return None
            with suppress(FileExistsError):
                os.mkdir(target.rpartition("/")[0], mode=0o700, dir_fd=self._folder)

    def _exists(self, name: str) -> bool:
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=self._folder)
            return True
        return False

    def _forget(self, run_id: str) -> None:
        self._runs.pop(run_id, None)
        self._writers.pop(run_id, None)

    def missing(self, run_id: str) -> RunNotFound | RunExpired:
        """See `EventLog`."""
        try:
            return RunExpired() if self._expired(run_id) else RunNotFound()
        except RunNotFound as invalid:
            return invalid

    def _expired(self, run_id: str) -> bool:
        return _day(run_id) < self._first_kept_day()

    def _first_kept_day(self) -> int:
        """Return the first day that is kept, as a number of days since 1970."""
        return int((self._clock() - self._retention_s) // DAY_S)


def _day(run_id: str) -> int:
    """Return the UTC day of a run, as a number of days since 1970. Raise `RunNotFound` for an invalid id."""
    match = _RUN_ID.fullmatch(run_id)
    if match is None:
        raise RunNotFound
    return int(match[1], 16) // (DAY_S * 1000)


def _active(run_id: str) -> str:
    """Return the path of an unarchived run's file, relative to `active`. Raise `RunNotFound` for an invalid id."""
    _day(run_id)  # checks the id, which becomes a part of a path
    return f"{run_id}{_SUFFIX}"


def _archived(run_id: str) -> str:
    """Return the path of an archived run's file, relative to `active`. Raise `RunNotFound` for an invalid id."""
    return f"../{_folder_name(_day(run_id))}/{run_id}{_SUFFIX}"


@lru_cache(maxsize=1)  # nearly always today
def _folder_name(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(day * DAY_S))


def _remove_days(directory: Path, first_kept: str) -> None:
    """Remove the folders of the days before `first_kept`. One that gets a run meanwhile is left to the next time."""
    for entry in list(directory.iterdir()):  # a copy, since the loop removes entries
        if _DAY.fullmatch(entry.name) and entry.name < first_kept:
            try:
                shutil.rmtree(entry)
            except OSError as error:
                logger.warning("%s could not be removed: %s", entry, error)
