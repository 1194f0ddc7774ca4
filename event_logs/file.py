"""The event log in files: a run's log is a file that holds the very frames that go on the wire.

lock                        held by the one server that may use the directory
active/run_….sse            a run that is not archived yet
2026-11-22/run_….sse        an archived one; the day, in UTC, is in its id
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
from functools import partial
from pathlib import Path

from errors import LogUnavailable, RunExpired, RunNotFound
from event_logs.base import Fenced, LogPosition
from event_logs.directory_lock import locked
from event_logs.file_reading import CommittedRun, Extent, RunFile, disk_errors
from event_logs.file_writing import FileWriter, Fsync

logger = logging.getLogger(__name__)

DAY_S = 24 * 60 * 60
_RUN_ID = re.compile(r"run_([0-9a-f]{12})[0-9a-f]{20}")  # a UUIDv7, which begins with the milliseconds since 1970
_FILE = re.compile(r"run_[0-9a-f]{32}\.sse")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_SUFFIX = ".sse"
_PROBE = b"\n" * 4096  # more than a file system keeps beside its data blocks
_OWNER_ONLY = 0o600


class FileEventLog:
    """The runs of one server. What a reader has seen outlives the process; with `fsync`, the machine.

    An archived run is kept until the whole day of its id is older than `retention_s` by `clock`, both in seconds.
    """

    def __init__(
        self,
        directory: Path,
        *,
        retention_s: float,
        fsync: Fsync = "end",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raise `DirectoryInUse`, or `OSError` where there can be no such directory."""
        self._directory = directory
        self._active = directory / "active"
        for folder in (directory, self._active):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._retention_s = retention_s
        self._fsync: Fsync = fsync
        self._clock = clock
        self._runs: dict[str, CommittedRun] = {}  # those in `active` that were asked for
        self._writers: dict[str, FileWriter] = {}
        self._closed = False
        self._lock = locked(directory)
        self._folder = os.open(self._active, os.O_RDONLY | os.O_DIRECTORY)

    async def create(self, run_id: str) -> FileWriter:
        """See `EventLog`. Raise `RunNotFound` for what is no run's id."""
        with disk_errors(run_id):
            if self._expired(run_id) or self._exists(_archived(run_id)):
                raise Fenced(run_id)
        run = CommittedRun(Extent(0, 0, ended=False))
        writer = self._writer(run_id, run, os.O_CREAT | os.O_EXCL)
        self._runs[run_id] = run
        return writer

    async def take_over(self, run_id: str) -> FileWriter:
        """See `EventLog`."""
        run = self._run(run_id)
        while not run.ended and (former := self._writers.get(run_id)):
            await former.fence()
            if self._writers.get(run_id) is former:
                del self._writers[run_id]
        if run.ended:
            raise Fenced(run_id)
        return self._writer(run_id, run)

    async def unarchived(self) -> Sequence[str]:
        """See `EventLog`. The oldest first."""
        with disk_errors("active"):
            return sorted(file.stem for file in self._active.iterdir() if _FILE.fullmatch(file.name))

    async def archive(self, run_id: str) -> None:
        """See `EventLog`. Raise `ValueError` for a run that has not ended."""
        if not self._run(run_id).ended:
            raise ValueError(f"{run_id} has not ended")
        with disk_errors(run_id):
            self._move(_active(run_id), _archived(run_id))
        self._forget(run_id)

    async def expire(self) -> None:
        """See `EventLog`. A run in `active` stays."""
        with disk_errors("retention"):
            await asyncio.to_thread(_remove_days, self._directory, _name(self._first_kept_day()))

    async def delete(self, run_id: str) -> None:
        """See `EventLog`. Raise `ValueError` for a run that is under way."""
        run = self._run(run_id)
        writer = self._writers.get(run_id)
        if writer is not None:
            await writer.settled()
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
        """See `EventLog`. Raise `errors.LogUnavailable` where the file can't be read."""
        run = self._run(run_id)
        return LogPosition(run.last_seq, run.ended)

    async def read(self, run_id: str, after: int, *, follow: bool = True) -> AsyncGenerator[bytes, None]:
        """See `EventLog`."""
        with closing(RunFile(run_id, partial(self._open, run_id))) as file:
            run = self._runs.get(run_id) or self._look(run_id, file)
            while follow and run.last_seq < after and not run.ended:
                await run.news()
            offset = file.offset(run, after)
            while True:
                while offset < run.size:
                    page = run.recent(offset) or file.page(offset, run.size)
                    offset += len(page)
                    yield page
                if run.ended or not follow:
                    return
                await run.news()

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
        """See `EventLog`. Readers that wait are told that the log is unavailable. Idempotent."""
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
        """What a file holds that this server hasn't written. That of a run in `active` is remembered."""
        run = CommittedRun(file.extent())
        with disk_errors(run_id):
            archived = not self._exists(_active(run_id))
        if archived:
            if not run.ended:
                run.fail()  # a power cut can do that: who follows it is told, and waits for nothing
        else:
            self._runs[run_id] = run
        return run

    def _open(self, run_id: str) -> int:
        for name in (_active(run_id), _archived(run_id)):
            with suppress(FileNotFoundError):
                return os.open(name, os.O_RDONLY, dir_fd=self._folder)
        raise RunExpired if self._expired(run_id) else RunNotFound

    def _writer(self, run_id: str, run: CommittedRun, flags: int = 0) -> FileWriter:
        """A writer that goes on where the run is committed to. Raise `Fenced` where `flags` want a new file."""
        if self._closed:
            raise LogUnavailable
        with disk_errors(run_id):
            try:
                fd = os.open(_active(run_id), os.O_WRONLY | os.O_APPEND | flags, _OWNER_ONLY, dir_fd=self._folder)
            except FileExistsError:
                raise Fenced(run_id) from None
            try:
                os.ftruncate(fd, run.size)
            except OSError:
                os.close(fd)
                raise
        writer = self._writers[run_id] = FileWriter(run_id, run, fd, self._folder, self._fsync)
        return writer

    def _move(self, source: str, target: str) -> None:
        """Retention may remove the day's folder at any time. What has been moved before stays where it is."""
        while True:
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

    def _expired(self, run_id: str) -> bool:
        return _day(run_id) < self._first_kept_day()

    def _first_kept_day(self) -> int:
        """The first day that is kept, counted from 1970."""
        return int((self._clock() - self._retention_s) // DAY_S)


def _day(run_id: str) -> int:
    """The UTC day of a run, counted from 1970. Raise `RunNotFound` for what is no run's id."""
    match = _RUN_ID.fullmatch(run_id)
    if match is None:
        raise RunNotFound
    return int(match[1], 16) // (DAY_S * 1000)


def _active(run_id: str) -> str:
    """The file of a run that is not archived; this name and the next are as seen from `active`. Raise `RunNotFound`."""
    _day(run_id)
    return f"{run_id}{_SUFFIX}"


def _archived(run_id: str) -> str:
    return f"../{_name(_day(run_id))}/{run_id}{_SUFFIX}"


def _name(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(day * DAY_S))


def _remove_days(directory: Path, first_kept: str) -> None:
    """Remove the folders of the days before that one; one that a run is archived to meanwhile, the next time."""
    for entry in list(directory.iterdir()):
        if _DAY.fullmatch(entry.name) and entry.name < first_kept:
            try:
                shutil.rmtree(entry)
            except OSError as error:
                logger.warning("%s could not be removed: %s", entry, error)
