"""The log in files when the disk is full, damaged or slow, and what is on the disk before it is shown."""

import asyncio
import fcntl
import os
import random
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory
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
    names_and_data,
    new_id,
    parse,
    say,
    settled,
    write,
)
from log_files import STEP, WEEK_S, active, disk_full_at, files, limit, python

from errors import LogUnavailable
from event_data import PendingCall, StepStarted, Waiting
from event_logs.base import Fenced, LogPosition
from event_logs.file import FileEventLog
from event_logs.file_flushing import Disk
from event_logs.file_reading import CommittedRun, Extent
from event_logs.file_writing import FileWriter

pytestmark = pytest.mark.anyio


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[FileEventLog]:
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, fsync="never")) as opened:
        yield opened


# Failures


@pytest.mark.parametrize("room", [0, 1, 60, 150])
async def test_a_full_disk_loses_nothing(
    log: FileEventLog, tmp_path: Path, caplog: pytest.LogCaptureFixture, room: int
) -> None:
    """The commit fails, the file is cut back, readers leave; when there is room, all is written, once, in order."""
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
    assert [data.get("content") for _, data in names_and_data(whole)] == [None, "0 ", "1 ", "2 ", None]
    assert whole == active(tmp_path, run_id).read_bytes()


async def test_a_file_that_can_t_be_cut_is_not_written_to(tmp_path: Path) -> None:
    """The rest of a failed write is cut off before the next write, however long that takes."""
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
    """Events that could not be written are lost with their writer, and the numbers continue after those that were."""
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
    """The check that readiness uses leaves nothing behind, whether it succeeds or not."""
    before = files(tmp_path)
    with disk_full_at(100), pytest.raises(LogUnavailable):
        await log.check()
    assert files(tmp_path) == before
    await log.check()
    assert files(tmp_path) == before


async def test_without_descriptors_nothing_is_lost(log: FileEventLog) -> None:
    """No run starts and no past is read, but those under way continue; and all is well when there are some."""
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
    """A file that was cut or overwritten causes an error, and neither other bytes nor an endless loop."""
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
    """Not before, and not twice: every reader sees the run end."""
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
    """Events on their way to the disk are kept, and the next writer continues after them. An end stays the end."""
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
