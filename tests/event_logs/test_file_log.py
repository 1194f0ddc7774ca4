"""Tests the promises of the log in files beyond the contract: its files, its lock, torn files, and retention."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from grammar import parse_frames
from log_backends import (
    COMPLETE,
    KIB,
    STARTED,
    available,
    everything,
    frames,
    new_id,
    parse,
    say,
    settled,
    write,
)
from log_files import NOON, STEP, WEEK_S, Clock, active, files, id_at, python

from errors import LogUnavailable, RunExpired, RunNotFound
from event_data import FinalOutput
from event_logs.base import Fenced, LogPosition
from event_logs.directory_lock import DirectoryInUse
from event_logs.file import DAY_S, FileEventLog
from event_logs.file_reading import WINDOW

pytestmark = pytest.mark.anyio


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[FileEventLog]:
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, fsync="never")) as opened:
        yield opened


# The files


async def test_the_file_has_the_bytes_of_the_stream(log: FileEventLog, tmp_path: Path) -> None:
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
    """An id can be made up: what its time says is reported like any other run that isn't there."""
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
    """A second is refused, in this process as in another, with advice; it may start when the first has gone."""
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

    async def finished() -> bytes:
        async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S)) as log:
            assert await log.unarchived() == [run_id]
            writer = await log.take_over(run_id)
            writer.put(COMPLETE)
            await writer.commit()
            return await everything(log, run_id)

    whole = asyncio.run(finished())
    assert whole.startswith(seen.encode())
    events = [parse(frame) for frame in frames(whole)]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len(frames(seen.encode())) <= len(events) - 1
    assert events[-1]["event"] == "complete"


# Torn files


async def recovered(directory: Path, run_id: str) -> tuple[bytes, bytes]:
    """The next server finds a run as it was left, before and after it takes the run over and ends it."""
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
    """Its whole frames are the run, before it is taken over as after; the rest is cut, and the numbers continue."""
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


async def test_a_reader_waits_for_the_next_writer(tmp_path: Path) -> None:
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


# The end of the server


async def test_a_closed_log_reports_it_to_everybody(tmp_path: Path) -> None:
    """Readers that wait, writers, and starts of runs; what was committed stays, and closing twice is fine."""
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
    """In any order there is no error, and a run either exists or has expired."""
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
