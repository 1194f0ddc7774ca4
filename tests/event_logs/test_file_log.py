"""What the log in files promises beyond the contract: its files, its lock, its failures and what it costs."""

import asyncio
import fcntl
import json
import os
import random
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from grammar import parse_frames
from log_backends import (
    COMPLETE,
    KIB,
    MANY,
    STARTED,
    available,
    check_pages,
    everything,
    frames,
    new_id,
    next_page,
    pages_of,
    parse,
    say,
    settled,
    told,
    write,
)
from process import ROOT

from errors import LogUnavailable, RunExpired, RunNotFound
from event_logs.base import Fenced, LogPosition
from event_logs.directory_lock import DirectoryInUse
from event_logs.file import DAY_S, FileEventLog
from event_logs.file_flushing import Disk
from event_logs.file_reading import RECENT_BYTES, WINDOW, CommittedRun, Extent
from event_logs.file_writing import FileWriter
from event_logs.frames import PAGE_BYTES
from events import FinalOutput, PendingCall, StepStarted, Waiting

pytestmark = pytest.mark.anyio

WEEK_S = 7 * DAY_S
NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())
STEP = StepStarted(step=1, model="m")


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[FileEventLog]:
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, fsync="never")) as opened:
        yield opened


def active(directory: Path, run_id: str) -> Path:
    return directory / "active" / f"{run_id}.sse"


def id_at(seconds: float, number: int = 0) -> str:
    """A run's id of that time."""
    return f"run_{int(seconds * 1000):012x}{number:020x}"


def files(directory: Path, like: str = "*") -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob(like) if path.is_file())


class Clock:
    """Says what it is told to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """The code in a process of its own, with the service and the tests to import from."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests/support'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def limit(what: int, most: int) -> Iterator[None]:
    """The operating system refuses this process more than that."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def disk_full_at(size: int) -> Any:
    """No file grows beyond so many bytes, as on a disk that is full: a write is cut short, or refused."""
    return limit(resource.RLIMIT_FSIZE, size)


# The files


async def test_the_file_is_what_goes_on_the_wire(log: FileEventLog, tmp_path: Path) -> None:
    """Byte for byte and nothing else, while the run is under way as when it is archived."""
    run_id = new_id()
    writer = await log.create(run_id)
    for event in (STARTED, say("Zoë\n\n"), FinalOutput(content="x" * 200 * KIB), COMPLETE):
        writer.put(event)
        await writer.commit()
        assert active(tmp_path, run_id).read_bytes() == await available(log, run_id)
    whole = await everything(log, run_id)
    await log.archive(run_id)
    [archived] = files(tmp_path, "*.sse")
    assert (tmp_path / archived).read_bytes() == whole == await everything(log, run_id)
    assert len(parse_frames(whole, prefix=True)) == 4


@pytest.mark.parametrize(
    ("seconds", "day"),
    [(NOON, "2026-11-22"), (NOON + DAY_S / 2 - 0.001, "2026-11-22"), (NOON + DAY_S / 2, "2026-11-23")],
)
async def test_a_run_is_archived_by_the_day_of_its_id(tmp_path: Path, seconds: float, day: str) -> None:
    """In UTC; only its owner may read what was said."""
    run_id = id_at(seconds)
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, clock=lambda: seconds)) as log:
        await write(log, run_id, COMPLETE)
        assert files(tmp_path) == [f"active/{run_id}.sse", "lock"]
        await log.archive(run_id)
        assert files(tmp_path) == [f"{day}/{run_id}.sse", "lock"]
        assert {(tmp_path / file).stat().st_mode & 0o777 for file in files(tmp_path)} == {0o600}


BAD_IDS = (
    "",
    "run_1",
    "run_" + "A" * 32,
    "run_" + "0" * 31,
    "run_" + "0" * 33,
    "run_" + "0" * 32 + "\n",
    "../run_" + "0" * 32,
    "run_" + "0" * 32 + "/..",
    "run_../../../../../../etc/passwd\0",
    "lock",
    "probe",
    "٠" * 36,
    "run_" + "٠" * 32,
)


@pytest.mark.parametrize("run_id", BAD_IDS)
async def test_only_the_id_of_a_run_names_a_file(log: FileEventLog, tmp_path: Path, run_id: str) -> None:
    """Anything else is not found, whatever is asked, and touches nothing."""
    before = files(tmp_path.parent)
    asks: list[Callable[[str], Any]] = [log.create, log.take_over, log.archive, log.delete, log.position]
    asks.append(lambda run_id: everything(log, run_id))
    for ask in asks:
        with pytest.raises(RunNotFound):
            await ask(run_id)
    assert files(tmp_path.parent) == before


@pytest.mark.parametrize("head", ["0" * 12, "f" * 12])
async def test_no_time_in_an_id_is_too_early_or_late(log: FileEventLog, head: str) -> None:
    """An id can be made up: what its time says is told as any other run that isn't there."""
    with pytest.raises((RunNotFound, RunExpired)):
        await log.position(f"run_{head}{'0' * 20}")


async def test_a_commit_is_one_write(log: FileEventLog) -> None:
    """However many events it holds, and however large they are; and it reads nothing."""
    writer = await write(log, new_id(), STARTED)

    def calls() -> tuple[int, int]:
        counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(counts["syscw"]), int(counts["syscr"])

    one, two = calls(), calls()
    for number in range(100):
        for _ in range(number % 4 + 1):
            writer.put(STEP)
        writer.put(say("x" * (number * KIB)))
        await writer.commit()
        await writer.commit()
    three = calls()
    assert (three[0] - two[0]) - (two[0] - one[0]) == 100
    assert (three[1] - two[1]) - (two[1] - one[1]) == 0


# One server


def test_a_directory_has_one_server(tmp_path: Path) -> None:
    """A second is refused, in this process as in another, and told what to do; it may come when the first has gone."""
    code = (
        "import pathlib, sys; from event_logs.file import FileEventLog;"
        "FileEventLog(pathlib.Path(sys.argv[1]), retention_s=1)"
    )
    log = FileEventLog(tmp_path, retention_s=1)
    with pytest.raises(DirectoryInUse, match=f"{tmp_path} is in use by another server: stop .*DATA_DIR"):
        FileEventLog(tmp_path, retention_s=1)
    with python(code, tmp_path) as other:
        _, error = other.communicate()
    assert f"DirectoryInUse: {tmp_path} is in use by another server" in error
    asyncio.run(log.aclose())
    with python(code, tmp_path) as other:
        assert other.communicate() == ("", "")
    asyncio.run(FileEventLog(tmp_path, retention_s=1).aclose())


WRITE_FOREVER = """
import asyncio, pathlib, sys
from log_backends import STARTED, everything, say
from event_logs.file import FileEventLog

async def main():
    log = FileEventLog(pathlib.Path(sys.argv[1]), retention_s=1e6)
    writer = await log.create(sys.argv[2])
    writer.put(STARTED)
    await writer.commit()
    async for page in log.read(sys.argv[2], 0):
        sys.stdout.write(page.decode())
        sys.stdout.flush()
        writer.put(say("token " * 50))
        await writer.commit()
        writer.put(say("never committed"))

asyncio.run(main())
"""


def test_nothing_that_was_seen_is_lost_by_kill_9(tmp_path: Path) -> None:
    """The next server has all that a reader of the killed one was given, takes the run over, and ends it."""
    run_id = new_id()
    with python(WRITE_FOREVER, tmp_path, run_id) as process:
        assert process.stdout is not None
        seen = "".join(process.stdout.readline() for _ in range(2000))
        process.kill()
        seen += process.stdout.read()
    seen = seen[: seen.rindex("\n\n") + 2]

    async def go_on() -> bytes:
        async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S)) as log:
            assert await log.unarchived() == [run_id]
            writer = await log.take_over(run_id)
            writer.put(COMPLETE)
            await writer.commit()
            return await everything(log, run_id)

    whole = asyncio.run(go_on())
    assert whole.startswith(seen.encode())
    events = [parse(frame) for frame in frames(whole)]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len(frames(seen.encode())) <= len(events) - 1
    assert events[-1]["event"] == "complete"


# Torn files


async def recovered(directory: Path, run_id: str) -> tuple[bytes, bytes]:
    """What a server that comes next finds of a run, before and after it takes it over and ends it."""
    async with aclosing(FileEventLog(directory, retention_s=WEEK_S, fsync="never")) as log:
        found = await available(log, run_id)
        last_seq, ended = await log.position(run_id)
        assert last_seq == len(frames(found))
        assert ended == (b"\nevent: complete\n" in found)
        if not ended:
            writer = await log.take_over(run_id)
            assert active(directory, run_id).read_bytes() == found
            writer.put(COMPLETE)
            await writer.commit()
        return found, await everything(log, run_id)


async def test_a_file_may_be_torn_at_every_byte(tmp_path: Path) -> None:
    """Its whole frames are the run, before it is taken over as after; the rest is cut, and the numbers go on."""
    run_id = new_id()
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, fsync="never")) as log:
        await write(log, run_id, STARTED, STEP, say("x\n\n"), COMPLETE)
        whole = await everything(log, run_id)
    for size in range(len(whole) + 1):
        active(tmp_path, run_id).write_bytes(whole[:size])
        found, after = await recovered(tmp_path, run_id)
        assert whole.startswith(found)
        assert len(found) <= size < len(found) + len(max(frames(whole), key=len))
        assert b"\n\n" not in whole[len(found) : size]
        assert [event["seq"] for event in map(parse, frames(after))] == list(range(1, after.count(b"\n\n") + 1))
        assert after.startswith(found)
        assert after.count(b"\nevent: complete\n") == 1


@pytest.mark.parametrize(
    "junk", [b"\0" * 4096, b"\n\n", b"id: \n\n", b"\0" * 100_000 + b"\n\n", b"id: 9\nevent: x", b"x" * 300_000]
)
async def test_what_is_no_frame_is_no_event(tmp_path: Path, junk: bytes) -> None:
    """After the power has failed there may be anything behind what was on the disk."""
    run_id = new_id()
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, fsync="never")) as log:
        await write(log, run_id, STARTED, FinalOutput(content="x" * 100_000))
        whole = await available(log, run_id)
    for committed in (whole, b""):
        active(tmp_path, run_id).write_bytes(committed + junk)
        found, after = await recovered(tmp_path, run_id)
        assert found == committed
        assert len(frames(after)) == len(frames(found)) + 1


@pytest.mark.parametrize("distance", range(-3, 4))
async def test_a_frame_s_end_is_seen_wherever_a_search_looks(tmp_path: Path, distance: int) -> None:
    """Though half of it is in one window and half in the next: looking for the last frame, and for any."""
    run_id = new_id()
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, fsync="never")) as log:
        await write(log, run_id, STARTED)
        whole = await available(log, run_id)
    for torn in (b"x" * (WINDOW + distance), b"x" * (2 * WINDOW + distance)):
        active(tmp_path, run_id).write_bytes(whole + torn)
        assert (await recovered(tmp_path, run_id))[0] == whole
    last = frames((await recovered(tmp_path, run_id))[1])[1]
    long = b"id: 1\nevent: x\n"
    for length in range(2 * WINDOW + len(last) + 4 * distance - 4, 2 * WINDOW + len(last) + 4 * distance):
        active(tmp_path, run_id).write_bytes(long + b"x" * (length - len(long) - 2) + b"\n\n" + last)
        async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S)) as log:
            assert await everything(log, run_id, 1) == last


async def test_a_reader_waits_for_the_one_who_takes_over(tmp_path: Path) -> None:
    """It follows a run that nobody writes yet, and gets what was there once and what comes once."""
    run_id = new_id()
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S)) as log:
        await write(log, run_id, STARTED)
        torn = b"id: 2\nevent: torn"
        active(tmp_path, run_id).write_bytes(await available(log, run_id) + torn)
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S)) as log:
        following = asyncio.create_task(everything(log, run_id))
        assert not await settled(following)
        writer = await log.take_over(run_id)
        assert not await settled(following)
        writer.put(COMPLETE)
        await writer.commit()
        assert await following == active(tmp_path, run_id).read_bytes() == await everything(log, run_id)


async def test_only_runs_count_as_unarchived(log: FileEventLog, tmp_path: Path) -> None:
    """Those of the server before too, in their order; whatever else lies there is left alone."""
    runs = [id_at(NOON, number) for number in (1, 2, 3)]
    for run_id in reversed(runs):
        active(tmp_path, run_id).write_bytes(b"")
    for name in ("probe", "run_1.sse", f"{new_id()}.tmp", ".DS_Store"):
        (tmp_path / "active" / name).write_bytes(b"")
    assert await log.unarchived() == runs


# Failures


@pytest.mark.parametrize("room", [0, 1, 60, 150])
async def test_a_full_disk_loses_nothing(
    log: FileEventLog, tmp_path: Path, caplog: pytest.LogCaptureFixture, room: int
) -> None:
    """The commit fails, the file is cut back, readers are told; when there is room, all is written, once, in order."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED)
    committed = await available(log, run_id)
    following = asyncio.create_task(everything(log, run_id))
    assert not await settled(following)
    with disk_full_at(len(committed) + room):
        for number in range(3):
            writer.put(say(f"{number} "))
            with pytest.raises(LogUnavailable) as failure:
                await writer.commit()
            assert active(tmp_path, run_id).read_bytes() == committed
            assert (writer.last_seq, await log.position(run_id)) == (1, LogPosition(1, ended=False))
        with pytest.raises(LogUnavailable):
            await following
        async with aclosing(log.read(run_id, 0)) as pages:
            assert await anext(pages) == committed
            with pytest.raises(LogUnavailable):
                await anext(pages)
        assert await available(log, run_id) == committed
        with pytest.raises(LogUnavailable):
            await writer.commit()
    assert str(tmp_path) not in str(failure.value)
    assert run_id in caplog.text
    await writer.commit()
    following = asyncio.create_task(everything(log, run_id))
    assert not await settled(following)
    writer.put(COMPLETE)
    await writer.commit()
    whole = await following
    assert [data.get("content") for _, data in told(whole)] == [None, "0 ", "1 ", "2 ", None]
    assert whole == active(tmp_path, run_id).read_bytes()


async def test_a_file_that_can_t_be_cut_is_not_written_to(tmp_path: Path) -> None:
    """What a write has left half done is cut before the next one, however long that takes."""
    run_id, file = new_id(), tmp_path / "run.sse"
    descriptor = os.memfd_create(run_id, os.MFD_ALLOW_SEALING)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    writer = FileWriter(run_id, CommittedRun(Extent(0, 0, ended=False)), descriptor, Disk(descriptor), "never")
    writer.put(STARTED)
    with disk_full_at(10), pytest.raises(LogUnavailable):
        await writer.commit()
    with pytest.raises(LogUnavailable):
        await writer.commit()
    file.write_bytes(os.pread(descriptor, 100, 0))
    assert len(file.read_bytes()) == 10
    with file.open("r+b") as mended:
        fcntl.fcntl(mended, fcntl.F_SETFL, os.O_APPEND)
        os.dup2(mended.fileno(), descriptor)
    writer.put(COMPLETE)
    await writer.commit()
    assert [event["event"] for event in parse_frames(file.read_bytes())] == ["run_started", "complete"]


async def test_a_run_is_taken_over_after_its_commit_has_failed(log: FileEventLog) -> None:
    """What could not be written is lost with its writer, and the numbers go on after what was."""
    run_id = new_id()
    former = await write(log, run_id, STARTED)
    former.put(say("lost"))
    with disk_full_at(10), pytest.raises(LogUnavailable):
        await former.commit()
    writer = await log.take_over(run_id)
    writer.put(COMPLETE)
    await writer.commit()
    with pytest.raises(Fenced):
        await former.commit()
    assert [event["event"] for event in parse_frames(await everything(log, run_id))] == ["run_started", "complete"]


async def test_a_full_disk_is_noticed_before_a_run_starts(log: FileEventLog, tmp_path: Path) -> None:
    """What readiness asks leaves nothing behind, whether it works or not."""
    before = files(tmp_path)
    with disk_full_at(100), pytest.raises(LogUnavailable):
        await log.check()
    assert files(tmp_path) == before
    await log.check()
    assert files(tmp_path) == before


async def test_without_descriptors_nothing_is_lost(log: FileEventLog) -> None:
    """No run starts and no past is read, but those that are under way go on; and all is well when there are some."""
    run_id, ended = new_id(), new_id()
    writer = await write(log, run_id, STARTED)
    await write(log, ended, COMPLETE)
    await log.archive(ended)
    with limit(resource.RLIMIT_NOFILE, 3):
        asks: tuple[Callable[[str], Any], ...] = (log.position, log.archive, lambda run_id: everything(log, run_id))
        for ask in asks:
            with pytest.raises(LogUnavailable):
                await ask(ended)
        with pytest.raises(LogUnavailable):
            await log.create(new_id())
        with pytest.raises(LogUnavailable):
            await log.check()
        with pytest.raises(LogUnavailable):
            await log.unarchived()
        writer.put(COMPLETE)
        await writer.commit()
    assert len(frames(await everything(log, run_id))) == 2
    assert len(frames(await everything(log, ended))) == 1


READ_ONLY = """
import asyncio, os, pathlib, sys
from log_backends import COMPLETE, STARTED, everything, frames, new_id, write
from errors import LogUnavailable
from event_logs.file import FileEventLog

async def refused(asked):
    try:
        await asked
    except LogUnavailable:
        return True

async def main():
    directory = pathlib.Path(sys.argv[1])
    if os.geteuid() == 0:  # whom no permission holds up
        os.chown(directory, 65534, 65534)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    log = FileEventLog(directory, retention_s=1e6, fsync="never")
    ended = new_id()
    await write(log, ended, STARTED, COMPLETE)
    (directory / "active").chmod(0o500)
    print(await refused(log.create(new_id())), await refused(log.check()), await refused(log.archive(ended)))
    print(await refused(log.delete(ended)), len(frames(await everything(log, ended))))
    (directory / "active").chmod(0o700)
    await log.check()
    await log.archive(ended)
    await write(log, new_id(), COMPLETE)
    await log.aclose()
    print("well")

asyncio.run(main())
"""


def test_a_read_only_directory_refuses_what_writes() -> None:
    """The past can be read, and all is well when it can be written to again."""
    with TemporaryDirectory() as directory, python(READ_ONLY, directory) as process:
        out, error = process.communicate()
    assert out.splitlines() == ["True True True", "True 2", "well"], error


async def test_a_damaged_file_is_not_passed_on(log: FileEventLog, tmp_path: Path) -> None:
    """What somebody has cut or overwritten gives an error, not other bytes and no endless loop."""
    run_id = new_id()
    await write(log, run_id, *(say("x" * KIB) for _ in range(200)), COMPLETE)
    file = active(tmp_path, run_id)
    whole = file.read_bytes()
    for damaged in (whole[: 100 * KIB], b"\n" * len(whole), b"\0" * len(whole)):
        file.write_bytes(damaged)
        with pytest.raises(LogUnavailable):
            await everything(log, run_id, 50)


async def test_an_archived_run_without_its_end_is_torn(log: FileEventLog, tmp_path: Path) -> None:
    """Nobody waits for what a power cut has taken, or takes it for the end."""
    run_id = new_id()
    await write(log, run_id, STARTED, say("Hello"), COMPLETE)
    await log.archive(run_id)
    [archived] = files(tmp_path, "*.sse")
    whole = (tmp_path / archived).read_bytes()
    (tmp_path / archived).write_bytes(whole[:-10])
    assert await log.position(run_id) == LogPosition(2, ended=False)
    async with aclosing(log.read(run_id, 0)) as pages:
        assert await anext(pages) == b"".join(frames(whole)[:2])
        with pytest.raises(LogUnavailable):
            await anext(pages)


# What is on the disk


async def test_an_end_that_waits_for_the_disk_is_shown_also_when_it_is_cancelled(tmp_path: Path) -> None:
    """Not before, and not twice: whoever follows the run sees it end."""
    run_id = new_id()
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S)) as log:
        writer = await write(log, run_id, STARTED)
        following = asyncio.create_task(everything(log, run_id))
        writer.put(COMPLETE)
        ending = asyncio.create_task(writer.commit())
        await asyncio.sleep(0)
        assert len(frames(active(tmp_path, run_id).read_bytes())) == 2
        assert (writer.last_seq, await log.position(run_id)) == (1, LogPosition(1, ended=False))
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        with pytest.raises(Fenced):
            writer.put(say("late"))
        await writer.commit()
        assert await log.position(run_id) == LogPosition(2, ended=True)
        assert len(frames(await following)) == 2
        await log.archive(run_id)


async def test_commits_that_wait_for_the_disk_take_turns(tmp_path: Path) -> None:
    """Whichever of them are cancelled: each event is there once, in its order, once a later commit is through."""
    run_id = new_id()
    choose = random.Random(7)
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, fsync="commit")) as log:
        writer = await log.create(run_id)
        for number in range(60):
            writer.put(StepStarted(step=number, model="m"))
            commit = asyncio.create_task(writer.commit())
            for _ in range(choose.randrange(4)):
                await asyncio.sleep(0)
            if choose.random() < 0.7:
                commit.cancel()
        writer.put(COMPLETE)
        await writer.commit()
        events = [parse(frame) for frame in frames(await everything(log, run_id))]
    assert [event["data"].get("step") for event in events] == [*range(60), None]
    assert [event["seq"] for event in events] == list(range(1, 62))


async def test_a_run_is_taken_over_while_its_writer_waits_for_the_disk(tmp_path: Path) -> None:
    """What is on its way to the disk is kept, and the next writer goes on after it; an end is an end."""
    for last, kept in ((STEP, ["run_started", "step_started", "complete"]), (COMPLETE, ["run_started", "complete"])):
        run_id = new_id()
        async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, fsync="commit")) as log:
            former = await write(log, run_id, STARTED)
            former.put(last)
            committing = asyncio.create_task(former.commit())
            await asyncio.sleep(0)
            overs = await asyncio.gather(*(log.take_over(run_id) for _ in range(2)), return_exceptions=True)
            await committing
            if last is COMPLETE:
                assert [type(over) for over in overs] == [Fenced, Fenced]
            else:
                writer = await log.take_over(run_id)
                writer.put(COMPLETE)
                await writer.commit()
            assert [event["event"] for event in parse_frames(await everything(log, run_id))] == kept


async def test_what_a_person_is_asked_is_on_the_disk_first(tmp_path: Path) -> None:
    """With EVENT_LOG_FSYNC=end, `waiting` is as lasting as `complete` before it is shown."""
    file, no_folder = tmp_path / "run.sse", os.pipe()  # which can't be fsynced
    run = CommittedRun(Extent(0, 0, ended=False))
    writer = FileWriter(new_id(), run, os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND), Disk(no_folder[0]), "end")
    writer.put(STARTED)
    await writer.commit()
    writer.put(Waiting(pending=[PendingCall(tool_call_id="call_1", name="delete", kind="approval")]))
    with pytest.raises(LogUnavailable):
        await writer.commit()
    assert run.last_seq == 1
    folder = os.open(tmp_path, os.O_RDONLY)
    os.dup2(folder, no_folder[0])
    await writer.commit()
    assert run.last_seq == 2
    await writer.aclose()
    for descriptor in (folder, *no_folder):
        os.close(descriptor)


async def test_what_does_not_reach_the_disk_is_not_shown(tmp_path: Path) -> None:
    """An fsync that fails is a commit that fails: the file is cut back, and the next one writes it all again."""
    run_id, file = new_id(), tmp_path / "run.sse"
    no_folder, other_end = os.pipe()  # which can't be fsynced
    run = CommittedRun(Extent(0, 0, ended=False))
    writer = FileWriter(run_id, run, os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND), Disk(no_folder), "commit")
    writer.put(STARTED)
    for _ in range(2):
        with pytest.raises(LogUnavailable):
            await writer.commit()
        assert (file.read_bytes(), run.size, writer.last_seq) == (b"", 0, 0)
        with pytest.raises(LogUnavailable):
            await run.change()
    folder = os.open(tmp_path, os.O_RDONLY)
    os.dup2(folder, no_folder)
    writer.put(COMPLETE)
    await writer.commit()
    assert [event["event"] for event in parse_frames(file.read_bytes())] == ["run_started", "complete"]
    assert (run.size, run.last_seq, run.ended) == (file.stat().st_size, 2, True)
    for descriptor in (folder, no_folder, other_end):
        os.close(descriptor)


async def test_files_that_wait_together_fail_each_for_itself(tmp_path: Path) -> None:
    """A thread takes all that wait, and each commit gets the result of its own file, and of its folder if it is new."""
    no_file, other_end = os.pipe()  # which can't be fsynced
    folder = os.open(tmp_path, os.O_RDONLY)
    files = [os.open(tmp_path / str(number), os.O_CREAT | os.O_WRONLY) for number in range(20)]
    disk = Disk(folder)
    results = await asyncio.gather(*(disk.flush(fd, is_new=True) for fd in (*files, no_file)), return_exceptions=True)
    assert [type(result) for result in results] == [*[type(None)] * 20, OSError]
    disk = Disk(no_file)
    results = await asyncio.gather(
        *(disk.flush(fd, is_new=is_new) for fd in files for is_new in (True, False)), return_exceptions=True
    )
    assert [type(result) for result in results] == [OSError, type(None)] * 20
    for descriptor in (folder, no_file, other_end, *files):
        os.close(descriptor)


# The end of the server


async def test_a_closed_log_tells_everybody(tmp_path: Path) -> None:
    """Readers that wait, writers, and who would start a run; what was committed stays, and closing twice is fine."""
    run_id, ending = new_id(), new_id()
    log = FileEventLog(tmp_path, retention_s=WEEK_S)
    writer = await write(log, run_id, STARTED)
    following = asyncio.create_task(everything(log, run_id))
    assert not await settled(following)
    last = await log.create(ending)
    last.put(COMPLETE)
    committing = asyncio.create_task(last.commit())
    await asyncio.sleep(0)
    for _ in range(2):
        await log.aclose()
    await committing
    with pytest.raises(LogUnavailable):
        await following
    writer.put(say("late"))
    with pytest.raises(LogUnavailable):
        await writer.commit()
    for ask in (log.create(new_id()), log.take_over(run_id)):
        with pytest.raises(LogUnavailable):
            await ask
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S)) as log:
        assert await log.position(run_id) == LogPosition(1, ended=False)
        assert await log.position(ending) == LogPosition(1, ended=True)


# Retention


async def test_days_go_when_all_of_them_is_past_retention(tmp_path: Path) -> None:
    """Not a second earlier; nothing but the folders of days is touched."""
    clock = Clock(NOON)
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, clock=clock)) as log:
        runs = [id_at(NOON + day * DAY_S) for day in range(3)]
        for run_id in runs:
            await write(log, run_id, COMPLETE)
            await log.archive(run_id)
        await write(log, under_way := id_at(NOON, 1), STARTED)
        others = ["2026-11-22.bak/a", "20261122/a", "2026-W47-7/a", "notes/a"]
        for name in others:
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).write_bytes(b"")
        end_of_day = NOON + DAY_S / 2
        for after, gone in ((-1, 0), (0, 1), (DAY_S - 1, 1), (DAY_S, 2)):
            clock.now = end_of_day + WEEK_S + after
            for _ in range(2):
                await log.expire()
                assert [Path(name).stem for name in files(tmp_path, "2026-*/*.sse")] == runs[gone:]
        assert set(others) <= set(files(tmp_path))
        assert await log.position(under_way) == LogPosition(1, ended=False)


async def test_what_has_expired_stays_expired(tmp_path: Path) -> None:
    """In the next server, too. What is not removed yet can be read, and a clock that was wrong stops nothing."""
    clock = Clock(NOON)
    old, never = id_at(NOON), id_at(NOON, 1)
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, clock=clock)) as log:
        await write(log, old, COMPLETE)
        await log.archive(old)
        with pytest.raises(RunNotFound):
            await log.position(never)
        clock.now = NOON + 9 * DAY_S
        assert await log.position(old) == LogPosition(1, ended=True)
        await log.expire()
        for run_id in (old, never):
            with pytest.raises(RunExpired):
                await log.position(run_id)
            with pytest.raises(Fenced):
                await log.create(run_id)
        with pytest.raises(RunNotFound):
            await log.position(id_at(NOON + 5 * DAY_S))
        clock.now = NOON
        await write(log, never, COMPLETE)
    clock.now = NOON + 9 * DAY_S
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, clock=clock)) as log:
        with pytest.raises(RunExpired):
            await log.position(old)


async def test_runs_are_archived_while_their_day_is_removed(tmp_path: Path) -> None:
    """Whoever is first: no error, and a run is there or has expired."""
    clock = Clock(NOON)
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, fsync="never", clock=clock)) as log:
        runs = [id_at(NOON, number) for number in range(300)]
        for run_id in runs:
            await write(log, run_id, COMPLETE)
        clock.now = NOON + 9 * DAY_S
        expiring: list[asyncio.Task[None]] = []
        for number, run_id in enumerate(runs):
            await log.archive(run_id)
            if number % 3 == 0:
                expiring.append(asyncio.create_task(log.expire()))
            await asyncio.sleep(0)
        await asyncio.gather(*expiring)
        await log.expire()
        assert files(tmp_path, "*.sse") == []


listed: list[str] | None = None


def note_listings(event: str, arguments: tuple[Any, ...]) -> None:
    if listed is not None and event in ("os.listdir", "os.scandir"):
        listed.append(str(arguments[0]))


async def test_a_start_looks_at_nothing_that_is_archived(tmp_path: Path) -> None:
    """So that it takes no longer with many days of runs; nor does finding one of them."""
    global listed
    for day in range(7):
        folder = tmp_path / f"2026-11-{16 + day}"
        folder.mkdir()
        for number in range(20):
            (folder / f"{id_at(NOON - (6 - day) * DAY_S, number)}.sse").write_bytes(b"id: 1\nevent: complete\n\n")
    sys.addaudithook(note_listings)
    listed = []
    try:
        async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, clock=lambda: NOON)) as log:
            assert await log.unarchived() == []
            assert await log.position(id_at(NOON, 3)) == LogPosition(1, ended=True)
            assert listed == [str(tmp_path / "active")]
    finally:
        listed = None


# What it costs


async def test_a_reader_that_keeps_up_needs_no_file(log: FileEventLog) -> None:
    """All are given the very bytes that were written; a file is opened for who reads the past, and closed after it."""
    run_id = new_id()
    writer = await log.create(run_id)
    before = open_descriptors()
    readers = [log.read(run_id, 0) for _ in range(20)]
    for size in (10, 200, PAGE_BYTES - KIB, 10):
        pages = [next_page(reader) for reader in readers]
        await settled(pages[0])
        writer.put(say("x" * size))
        await writer.commit()
        assert len({id(page) for page in await asyncio.gather(*pages)}) == 1
    assert open_descriptors() == before
    async with aclosing(log.read(run_id, 1)) as past:
        await anext(past)
        assert open_descriptors() == before + 1
    assert open_descriptors() == before
    for reader in readers:
        await reader.aclose()


async def test_a_reader_a_little_behind_is_given_what_it_missed(log: FileEventLog, tmp_path: Path) -> None:
    """From memory or from the file, wherever its last page ended: each byte once."""
    choose = random.Random(3)
    run_id = new_id()
    writer = await log.create(run_id)
    readers: list[tuple[float, AsyncGenerator[bytes, None], list[bytes]]]
    readers = [(number / 20, log.read(run_id, 0), []) for number in range(1, 20)]
    for _ in range(300):
        for _ in range(choose.randrange(1, 4)):
            writer.put(say("x" * choose.choice((1, 1, 100, 100, RECENT_BYTES // 3, RECENT_BYTES, PAGE_BYTES))))
            writer.put(STEP)
        await writer.commit()
        size = active(tmp_path, run_id).stat().st_size
        for often, reader, seen in readers:
            if choose.random() < often and sum(map(len, seen)) < size:
                seen.append(await anext(reader))
    writer.put(COMPLETE)
    await writer.commit()
    whole = await everything(log, run_id)
    for _, reader, seen in readers:
        seen += [page async for page in reader]
        check_pages(seen)
        assert b"".join(seen) == whole


async def test_a_long_run_needs_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """Neither to write it nor to read it: the events are in the file."""
    run_id = new_id()
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, fsync="never")) as log:
        writer = await write(log, run_id, *(say("token " * 10) for _ in range(1000)))
        tracemalloc.start()
        try:
            for _ in range(30_000):
                writer.put(say("token " * 10))
                await writer.commit()
            written = tracemalloc.get_traced_memory()
            writer.put(COMPLETE)
            await writer.commit()
            tracemalloc.reset_peak()
            size = 0
            async for page in log.read(run_id, 0):
                size += len(page)
            read = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert size > 6_000_000
    assert max(written) < 150 * KIB
    assert read[1] - written[0] < 400 * KIB


async def test_every_event_of_a_large_file_is_found(log: FileEventLog) -> None:
    """Small ones by the thousand, and long ones of many pages between them, from each cursor."""
    choose = random.Random(1)
    run_id = new_id()
    writer = await log.create(run_id)
    for number in range(3000):
        writer.put(STEP)
        writer.put(FinalOutput(content="x" * choose.choice((0, 10, 200, 400_000 if number % 300 == 7 else 1000))))
        if number % 10 == 0:
            await writer.commit()
    writer.put(COMPLETE)
    await writer.commit()
    await log.archive(run_id)
    whole = frames(await everything(log, run_id))
    assert len(whole) == 6001
    assert sum(len(frame) > PAGE_BYTES for frame in whole) > 2
    for after in [*range(0, 6000, 7), *(n for n, frame in enumerate(whole) if len(frame) > PAGE_BYTES), 5999]:
        for cursor in {after, min(after + 1, 5999)}:
            async with aclosing(log.read(run_id, cursor)) as pages:
                page = await anext(pages)
            assert page == b"".join(whole[cursor : cursor + 300])[: len(page)]
    for cursor in (0, 1, 3000, 5999, 6000, 6001):
        pages_after = await pages_of(log, run_id, cursor)
        check_pages(pages_after)
        assert b"".join(pages_after) == b"".join(whole[cursor:])


async def test_ten_thousand_events_are_replayed_as_they_were(log: FileEventLog) -> None:
    """One commit each: every number, every word."""
    run_id = new_id()
    writer = await log.create(run_id)
    for number in range(9_999):
        writer.put(say(f"token {number}"))
        await writer.commit()
    writer.put(COMPLETE)
    await writer.commit()
    await log.archive(run_id)
    events = [json.loads(line[6:]) for line in (await everything(log, run_id)).splitlines() if line[:6] == b"data: "]
    assert [event["seq"] for event in events] == list(range(1, 10_001))
    assert [event["data"].get("content") for event in events] == [*(f"token {n}" for n in range(9_999)), None]


async def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Whatever runs and readers have come to: ended, left, cancelled, refused, taken over, or cut off by the end."""
    before = open_descriptors()
    log = FileEventLog(tmp_path, retention_s=WEEK_S)
    own = open_descriptors()
    ended = new_id()
    await write(log, ended, *(say("x" * KIB) for _ in range(MANY)), COMPLETE)
    await log.archive(ended)
    async with aclosing(log.read(ended, 5)) as pages:
        await anext(pages)
    for ask in (log.position, log.archive, lambda run_id: pages_of(log, run_id, 7)):
        await ask(ended)
    for refused in (log.create, log.take_over):
        with pytest.raises(Fenced):
            await refused(ended)
    assert open_descriptors() == own
    run_id = new_id()
    await write(log, run_id, *(say("x" * KIB) for _ in range(MANY)))
    await log.take_over(run_id)
    assert open_descriptors() == own + 1
    leaving = asyncio.create_task(everything(log, run_id, 1))
    assert not await settled(leaving)
    assert open_descriptors() == own + 2
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    staying = asyncio.create_task(everything(log, run_id, 1))
    assert not await settled(staying)
    await log.aclose()
    with pytest.raises(LogUnavailable):
        await staying
    assert open_descriptors() == before
