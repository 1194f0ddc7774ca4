"""Event logs of every backend, and what the tests write to them and read from them."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from grammar import parse_frames
from uuid_utils import uuid7

from errors import RunExpired
from event_data import Complete, EventData, PartialOutput, RunStarted, ToolUse, ToolUseDelta
from event_logs.base import EventLog, EventWriter
from event_logs.file import DAY_S, FileEventLog
from event_logs.file_writing import Fsync
from event_logs.frames import PAGE_BYTES
from event_logs.memory import MemoryEventLog
from usage_models import NO_USAGE

STARTED = RunStarted(model="test/model")
COMPLETE = Complete(status="cancelled", usage=NO_USAGE, steps=0, duration_ms=1)
KIB = 1024
LOOP_TURNS = 20  # turns of the loop, in which any task that waits only for another task proceeds
MANY = 600  # events, more than a page of any backend


class Backend(Protocol):
    """Opens a log for the tests, expires an archived run as retention would, and simulates the end of its process."""

    def __init__(self, directory: Path) -> None:
        """`directory` is where the server may keep its files."""

    def open(self) -> EventLog:
        """Return the server's log."""

    async def expire(self, log: EventLog, run_id: str) -> None:
        """Return when the run is past its retention."""

    async def crash(self, log: EventLog, run_id: str, written: bytes) -> tuple[EventLog, bytes]:
        """End the process after these bytes of a commit. Returns the next process's log, and the bytes it finds."""


class Memory:
    """Keeps as many archived runs as fit. No log survives its process, so only the writer dies here."""

    def __init__(self, directory: Path) -> None:
        pass

    def open(self) -> EventLog:
        return MemoryEventLog(max_bytes=512 * KIB)

    async def expire(self, log: EventLog, run_id: str) -> None:
        with suppress(RunExpired):
            while await log.position(run_id):
                large = new_id()
                await write(log, large, PartialOutput(content="x" * 60 * KIB), COMPLETE)
                await log.archive(large)

    async def crash(self, log: EventLog, run_id: str, written: bytes) -> tuple[EventLog, bytes]:
        return log, b""


class File:
    """Keeps archived runs for a week."""

    fsync: Fsync = "end"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._now = time.time()

    def open(self) -> EventLog:
        return FileEventLog(self._directory, retention_s=7 * DAY_S, fsync=self.fsync, clock=lambda: self._now)

    async def expire(self, log: EventLog, run_id: str) -> None:
        self._now = int(run_id[4:16], 16) / 1000 + 8 * DAY_S
        await log.expire()

    async def crash(self, log: EventLog, run_id: str, written: bytes) -> tuple[EventLog, bytes]:
        await log.aclose()
        if written:
            with (self._directory / "active" / f"{run_id}.sse").open("ab") as file:
                file.write(written)
        return self.open(), written


class SyncedFile(File):
    """Each commit waits for the disk, which here is memory: the tests need only the wait."""

    fsync = "commit"


BACKENDS: tuple[type[Backend], ...] = (Memory, File, SyncedFile)
SHARED_MEMORY = Path("/dev/shm")


def scratch(kind: type[Backend], otherwise: Path | None = None) -> "TemporaryDirectory[str]":
    """A temporary directory for a log."""
    fast = kind is SyncedFile and SHARED_MEMORY.is_dir()
    return TemporaryDirectory(dir=SHARED_MEMORY if fast else otherwise)


def new_id() -> str:
    return f"run_{uuid7().hex}"


def say(text: str) -> PartialOutput:
    return PartialOutput(content=text)


async def write(log: EventLog, run_id: str, *events: EventData) -> EventWriter:
    """Write a run with these events, each in a commit of its own."""
    writer = await log.create(run_id)
    for event in events:
        writer.put(event)
        await writer.commit()
    return writer


async def finished(log: EventLog, events: int = MANY) -> str:
    """An archived run with this number of events, each of a few hundred bytes."""
    run_id = new_id()
    await write(log, run_id, STARTED, *(say(f"{number} " * 60) for number in range(events - 2)), COMPLETE)
    await log.archive(run_id)
    return run_id


async def everything(log: EventLog, run_id: str, after: int = 0) -> bytes:
    """Return a run's frames, read to their end."""
    return b"".join([page async for page in log.read(run_id, after)])


async def pages_of(log: EventLog, run_id: str, after: int = 0) -> list[bytes]:
    """Return a run's pages, read to their end."""
    return [page async for page in log.read(run_id, after)]


async def available(log: EventLog, run_id: str, after: int = 0) -> bytes:
    """Return a run's frames that are committed so far."""
    return b"".join([page async for page in log.read(run_id, after, follow=False)])


def frames(body: bytes) -> list[bytes]:
    return [frame + b"\n\n" for frame in body.split(b"\n\n")[:-1]]


def check_pages(pages: Iterable[bytes]) -> None:
    """Check that a page is bounded, and has whole frames or a part of a long one. A blank line only ends a frame."""
    part = b""
    for page in pages:
        assert 0 < len(page) <= PAGE_BYTES
        if page.endswith(b"\n\n") and not part:
            continue
        part += page
        if page.endswith(b"\n\n"):
            assert len(part) > PAGE_BYTES
            assert part.count(b"\n\n") == 1
            part = b""
        assert b"\n\n" not in part
    assert part == b""


def names_and_data(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Return the names and data of the events in a run's first frames."""
    return [(event["event"], event["data"]) for event in parse_frames(body, prefix=True)]


def parse(frame: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(frame[frame.index(b"\ndata: ") + 7 :])
    return event


def told_after(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Return the names and data of later events of a run."""
    return [(event["event"], event["data"]) for event in map(parse, frames(body))]


async def settled(task: "asyncio.Task[Any]") -> bool:
    """Whether a task is done once every task that can run has run."""
    for _ in range(LOOP_TURNS):
        await asyncio.sleep(0)
    return task.done()


def next_page(pages: AsyncGenerator[bytes, None]) -> "asyncio.Task[bytes]":
    """The reader's next page, awaited in the background."""

    async def page() -> bytes:
        return await anext(pages)

    return asyncio.create_task(page())


def arguments(text: str, call: str = "call_1") -> ToolUseDelta:
    return ToolUseDelta(tool_call_id=call, name="weather", arguments_delta=text, source="python")


CALL = ToolUse(tool_call_id="call_1", name="weather", arguments={}, source="python")
