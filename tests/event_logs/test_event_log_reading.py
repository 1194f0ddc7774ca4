"""Tests the promises of every event log to readers, and about runs that don't exist."""

import asyncio
from contextlib import aclosing

import pytest
from grammar import parse_frames
from log_backends import (
    COMPLETE,
    KIB,
    MANY,
    STARTED,
    Backend,
    available,
    check_pages,
    everything,
    finished,
    frames,
    names_and_data,
    new_id,
    next_page,
    pages_of,
    parse,
    say,
    settled,
    told_after,
    write,
)

from errors import RunExpired, RunNotFound
from event_data import FinalOutput, StepStarted
from event_logs.base import EventLog, Fenced, LogPosition
from event_logs.frames import PAGE_BYTES
from event_logs.memory import MemoryEventLog

pytest_plugins = "log_fixtures"
pytestmark = pytest.mark.anyio


# Reading


async def test_replay_is_byte_identical_from_every_cursor(log: EventLog) -> None:
    """After event n a reader gets exactly n+1 …, the same bytes each time, in whole frames."""
    run_id = await finished(log)
    whole = frames(await everything(log, run_id))
    assert len(whole) == MANY
    for after in range(MANY + 1):
        pages = [page async for page in log.read(run_id, after)]
        check_pages(pages)
        assert all(page.startswith(b"id: ") and page.endswith(b"\n\n") for page in pages)
        assert b"".join(pages) == b"".join(whole[after:])


@pytest.mark.parametrize("length", [PAGE_BYTES + n for n in (-1, 0, 1, 2)] + [2 * PAGE_BYTES + n for n in range(-2, 4)])
async def test_a_long_frame_comes_alone_in_several_pages(log: EventLog, length: int) -> None:
    """A page is 64 KiB at most, wherever it is cut: for readers of the past, for followers, and from every cursor."""
    run_id, probe = new_id(), new_id()
    await write(log, probe, FinalOutput(content=""))
    frame = FinalOutput(content="x" * (length - len(await available(log, probe))))
    writer = await log.create(run_id)
    following = asyncio.create_task(pages_of(log, run_id))
    assert not await settled(following)
    for together in ((frame, frame), (say("a"), StepStarted(step=1, model="m"), frame), (frame,), (say("b"), COMPLETE)):
        for event in together:
            writer.put(event)
        await writer.commit()
        await settled(following)
    whole = frames(b"".join(await following))
    assert [len(whole[index]) for index in (0, 1, 4, 5)] == [length] * 4
    check_pages(await following)
    for after in range(len(whole) + 1):
        pages = await pages_of(log, run_id, after)
        check_pages(pages)
        assert b"".join(pages) == b"".join(whole[after:])


async def test_a_reader_that_does_not_follow_ends_at_what_is_committed(log: EventLog) -> None:
    """It waits for nothing: before the first event, in the middle, after the end, and with nothing left."""
    run_id = new_id()
    writer = await log.create(run_id)
    assert await available(log, run_id) == b""
    for event in (say("a"), say("b"), COMPLETE):
        writer.put(event)
        assert len(frames(await available(log, run_id))) == writer.last_seq
        await writer.commit()
    assert await available(log, run_id) == await everything(log, run_id)
    for after in range(4):
        assert len(frames(await available(log, run_id, after))) == 3 - after


async def test_a_reader_may_begin_at_events_to_come(log: EventLog) -> None:
    """Its first event is the one after its cursor, as for any other."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED)
    assert await available(log, run_id, 3) == b""
    ahead = asyncio.create_task(everything(log, run_id, 3))
    for event in (say("2"), say("3"), say("4"), COMPLETE):
        assert not await settled(ahead)
        writer.put(event)
        await writer.commit()
    assert [event["seq"] for event in map(parse, frames(await ahead))] == [4, 5]
    assert await everything(log, run_id, 9) == b""


async def test_a_reader_follows_the_run_as_it_is_written(log: EventLog) -> None:
    """From before the first event to the end: each commit when it is made, and then a clean end."""
    run_id = new_id()
    writer = await log.create(run_id)
    async with aclosing(log.read(run_id, 0)) as pages:
        waiting = next_page(pages)
        assert not await settled(waiting)
        seen = b""
        for text in ("a", "b", "c"):
            writer.put(say(text))
            await writer.commit()
            page = await waiting
            assert [data for _, data in told_after(page)] == [{"content": text}]
            seen += page
            waiting = next_page(pages)
            assert not await settled(waiting)
        writer.put(COMPLETE)
        await writer.commit()
        seen += await waiting
        with pytest.raises(StopAsyncIteration):
            await anext(pages)
    assert seen == await everything(log, run_id)


async def test_what_was_there_and_what_comes_join_without_a_seam(log: EventLog) -> None:
    """A reader that begins in the middle gets the past and then the present, each event once."""
    run_id = new_id()
    writer = await write(log, run_id, *(say(f"{number} ") for number in range(MANY)))
    readers = [asyncio.create_task(everything(log, run_id, after)) for after in (0, 1, MANY - 1, MANY)]
    for number in range(MANY):
        writer.put(say(f"{number} "))
        await writer.commit()
    writer.put(COMPLETE)
    await writer.commit()
    whole = frames(await everything(log, run_id))
    assert len(whole) == 2 * MANY + 1
    for after, reader in zip((0, 1, MANY - 1, MANY), readers, strict=True):
        assert await reader == b"".join(whole[after:])


async def test_many_readers_each_get_all_of_it(log: EventLog) -> None:
    """Readers don't take from one another, and don't wait for one another."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED)
    readers = [asyncio.create_task(everything(log, run_id)) for _ in range(100)]
    for number in range(20):
        writer.put(say(str(number)))
        await writer.commit()
        await asyncio.sleep(0)
    writer.put(COMPLETE)
    await writer.commit()
    assert set(await asyncio.gather(*readers)) == {await everything(log, run_id)}


async def test_a_reader_that_does_not_read_holds_nobody_up(log: EventLog) -> None:
    """The writer commits, and others read, while one reader has stopped after its first page."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED)
    async with aclosing(log.read(run_id, 0)) as slow:
        first = await anext(slow)
        for number in range(MANY):
            writer.put(say(str(number)))
            await writer.commit()
        writer.put(COMPLETE)
        await writer.commit()
        whole = await everything(log, run_id)
        assert first + b"".join([page async for page in slow]) == whole


async def test_a_reader_ends_by_itself_only_after_complete(log: EventLog) -> None:
    """A silent run is waited for; a finished one with nothing left ends at once, with nothing."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED)
    reader = asyncio.create_task(everything(log, run_id, 1))
    assert not await settled(reader)
    writer.put(COMPLETE)
    await writer.commit()
    assert told_after(await reader) == [("complete", COMPLETE.model_dump())]
    assert await everything(log, run_id, 2) == b""


async def test_a_reader_may_leave_at_any_time(log: EventLog) -> None:
    """While it waits, or in the middle of the past: the run and its other readers continue."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED, *(say(str(number)) for number in range(MANY)))
    staying = asyncio.create_task(everything(log, run_id))
    async with aclosing(log.read(run_id, 0)) as pages:
        await anext(pages)
    for _ in range(3):
        leaving = asyncio.create_task(everything(log, run_id, MANY + 1))
        assert not await settled(leaving)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    writer.put(COMPLETE)
    await writer.commit()
    assert await staying == await everything(log, run_id)


async def test_runs_don_t_mix(log: EventLog) -> None:
    """Two runs written by turns are two logs."""
    runs = {new_id(): "a", new_id(): "b"}
    writers = {run_id: await log.create(run_id) for run_id in runs}
    for event in (STARTED, None, None, COMPLETE):
        for run_id, name in runs.items():
            writers[run_id].put(event or say(name))
            await writers[run_id].commit()
    for run_id, name in runs.items():
        events = parse_frames(await everything(log, run_id))
        assert {event["run_id"] for event in events} == {run_id}
        assert [data for kind, data in names_and_data(await everything(log, run_id)) if kind == "partial_output"] == [
            {"content": name},
            {"content": name},
        ]


# What isn't there


async def test_an_unknown_run_is_not_found(log: EventLog) -> None:
    """Neither its position nor its events; nothing is created by asking."""
    run_id = new_id()
    for _ in range(2):
        with pytest.raises(RunNotFound):
            await log.position(run_id)
        with pytest.raises(RunNotFound):
            await everything(log, run_id)
    await write(log, run_id, STARTED)


async def test_a_run_is_unarchived_until_it_is_archived(log: EventLog) -> None:
    """Ended or not. Archiving changes nothing for readers, and once is as good as twice."""
    first, second = new_id(), new_id()
    writer = await write(log, first, STARTED)
    await write(log, second, STARTED, COMPLETE)
    assert list(await log.unarchived()) == [first, second]
    whole = await everything(log, second)
    for _ in range(2):
        await log.archive(second)
        assert list(await log.unarchived()) == [first]
        assert await everything(log, second) == whole
        assert await log.position(second) == LogPosition(2, ended=True)
    with pytest.raises(Fenced):
        await log.create(second)
    writer.put(COMPLETE)
    await writer.commit()
    await log.archive(first)
    assert list(await log.unarchived()) == []


async def test_a_run_under_way_is_neither_archived_nor_deleted(log: EventLog) -> None:
    """The reader that asks for it gets an error; the run continues."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED)
    for let_go in (log.archive, log.delete):
        with pytest.raises(ValueError, match="has not ended"):
            await let_go(run_id)
    writer.put(COMPLETE)
    await writer.commit()
    await log.archive(run_id)


async def test_what_is_not_there_is_neither_archived_nor_deleted(backend: Backend, log: EventLog) -> None:
    """It is reported as by `position`: unknown, or past its retention."""
    for let_go in (log.archive, log.delete):
        with pytest.raises(RunNotFound):
            await let_go(new_id())
    run_id = await finished(log, 3)
    await backend.expire(log, run_id)
    for let_go in (log.archive, log.delete):
        with pytest.raises(RunExpired):
            await let_go(run_id)


@pytest.mark.parametrize("archived", [False, True])
async def test_a_deleted_run_has_never_been(log: EventLog, archived: bool) -> None:
    """Not found, nowhere listed, and its id is free again; a reader under way reads on."""
    run_id, other = new_id(), await finished(log, 3)
    await write(log, run_id, STARTED, *(say(f"{number} " * 60) for number in range(MANY)), COMPLETE)
    if archived:
        await log.archive(run_id)
    whole = await everything(log, run_id)
    async with aclosing(log.read(run_id, 0)) as pages:
        seen = await anext(pages)
        await log.delete(run_id)
        seen += b"".join([page async for page in pages])
    assert seen == whole
    for ask in (log.position, log.archive, log.delete, log.take_over, lambda run_id: everything(log, run_id)):
        with pytest.raises(RunNotFound):
            await ask(run_id)
    assert list(await log.unarchived()) == []
    await write(log, run_id, STARTED, COMPLETE)
    assert len(frames(await everything(log, run_id))) == 2
    assert len(frames(await everything(log, other))) == 3


async def test_a_run_that_never_began_can_be_deleted(log: EventLog) -> None:
    """Its writer is fenced, and a reader that waits for its first event gets `RunNotFound`."""
    run_id = new_id()
    writer = await log.create(run_id)
    waiting = asyncio.create_task(everything(log, run_id))
    assert not await settled(waiting)
    writer.put(STARTED)
    await log.delete(run_id)
    with pytest.raises(RunNotFound):
        await waiting
    with pytest.raises(RunNotFound):
        await log.position(run_id)
    with pytest.raises(Fenced):
        writer.put(STARTED)
    with pytest.raises(Fenced):
        await writer.commit()
    await write(log, run_id, STARTED, COMPLETE)
    assert len(frames(await everything(log, run_id))) == 2


async def test_a_run_past_its_retention_has_expired(backend: Backend, log: EventLog) -> None:
    """It is distinguished from one that never existed, and its id can't be used again."""
    run_id = await finished(log, 3)
    await backend.expire(log, run_id)
    with pytest.raises(RunExpired):
        await log.position(run_id)
    with pytest.raises(RunExpired):
        await everything(log, run_id)
    with pytest.raises(Fenced):
        await log.create(run_id)


async def test_a_run_within_its_retention_stays(log: EventLog) -> None:
    """Retention deletes nothing else."""
    run_id = await finished(log, 3)
    await log.expire()
    assert len(frames(await everything(log, run_id))) == 3


async def test_a_run_that_expires_is_read_to_its_end_by_its_readers(backend: Backend, log: EventLog) -> None:
    """Retention takes nothing out of a reader's hands: it ends with `complete`."""
    run_id = await finished(log)
    whole = await everything(log, run_id)
    async with aclosing(log.read(run_id, 0)) as pages:
        seen = await anext(pages)
        assert len(seen) < len(whole)
        await backend.expire(log, run_id)
        seen += b"".join([page async for page in pages])
    assert seen == whole


async def test_a_run_that_is_not_archived_never_expires(backend: Backend, log: EventLog) -> None:
    """Retention deletes only runs whose end has been recorded everywhere."""
    run_id, ended, other = new_id(), new_id(), await finished(log, 3)
    writer = await write(log, run_id, STARTED)
    await write(log, ended, STARTED, COMPLETE)
    await backend.expire(log, other)
    assert len(frames(await everything(log, ended))) == 2
    writer.put(COMPLETE)
    await writer.commit()
    assert [name for name, _ in names_and_data(await everything(log, run_id))] == ["run_started", "complete"]


async def test_memory_holds_as_many_archived_runs_as_fit() -> None:
    """Each counts once, however often it is archived, and no more once it is deleted; the oldest goes first."""
    log = MemoryEventLog(max_bytes=200 * KIB)
    runs = [new_id() for _ in range(5)]
    for run_id in runs:
        await write(log, run_id, FinalOutput(content="x" * 60 * KIB), COMPLETE)
    for run_id in runs[:3]:
        for _ in range(3):
            await log.archive(run_id)
    await log.delete(runs[1])
    await log.archive(runs[3])
    for run_id in (runs[0], runs[2], runs[3], runs[4]):
        assert await log.position(run_id) == LogPosition(2, ended=True)
    await log.archive(runs[4])
    with pytest.raises(RunExpired):
        await log.position(runs[0])
    with pytest.raises(RunNotFound):
        await log.position(runs[1])
    for run_id in runs[2:]:
        assert await log.position(run_id) == LogPosition(2, ended=True)


async def test_a_log_that_works_can_be_written(log: EventLog) -> None:
    """The check that readiness uses reports whether the log accepts writes."""
    await log.check()
