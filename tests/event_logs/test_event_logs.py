"""What every event log promises. A new backend joins `BACKENDS` and passes all of this."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest
from grammar import parse_frames
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from log_backends import (
    BACKENDS,
    CALL,
    COMPLETE,
    KIB,
    MANY,
    STARTED,
    Backend,
    arguments,
    available,
    check_pages,
    everything,
    finished,
    frames,
    new_id,
    next_page,
    pages_of,
    parse,
    say,
    scratch,
    settled,
    told,
    told_after,
    write,
)

from errors import RunExpired, RunNotFound
from event_logs.base import EventLog, EventWriter, Fenced, LogPosition
from event_logs.frames import PAGE_BYTES, FrameQueue
from event_logs.memory import MemoryEventLog
from events import (
    EventData,
    FinalOutput,
    PartialOutput,
    StepStarted,
    Thinking,
    ToolUseDelta,
)

pytestmark = pytest.mark.anyio


# The backends


@pytest.fixture(params=BACKENDS, ids=lambda kind: kind.__name__.lower())
def kind(request: pytest.FixtureRequest) -> type[Backend]:
    chosen: type[Backend] = request.param
    return chosen


@pytest.fixture
def backend(kind: type[Backend], tmp_path: Path) -> Iterator[Backend]:
    with scratch(kind, tmp_path) as directory:
        yield kind(Path(directory))


@pytest.fixture
async def log(backend: Backend) -> AsyncIterator[EventLog]:
    async with aclosing(backend.open()) as opened:
        yield opened


# What the tests do with a log


# Writing


async def test_events_are_numbered_from_one_without_a_gap(log: EventLog) -> None:
    """Whatever they are, and however many a commit holds."""
    run_id = new_id()
    writer = await log.create(run_id)
    assert (writer.last_seq, await log.position(run_id)) == (0, LogPosition(0, ended=False))
    for number, together in enumerate((1, 3, 0, 2), start=1):
        for _ in range(together):
            writer.put(StepStarted(step=number, model="m"))
        await writer.commit()
    writer.put(COMPLETE)
    await writer.commit()
    events = parse_frames(await everything(log, run_id))
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert [event["data"].get("step") for event in events] == [1, 2, 2, 2, 4, 4, None]
    assert {event["run_id"] for event in events} == {run_id}
    assert (writer.last_seq, await log.position(run_id)) == (7, LogPosition(7, ended=True))


async def test_a_frame_is_the_bytes_of_the_contract(log: EventLog) -> None:
    """Ready for the wire: id, event and one line of ASCII JSON, whatever is said; the time is UTC in milliseconds."""
    run_id = new_id()
    await write(log, run_id, say('Zoë\n"🎉"\u2028\r\x00'), COMPLETE)
    first, _ = frames(await everything(log, run_id))
    expected = (
        b"id: 1\nevent: partial_output\n"
        rb'data: {"event":"partial_output","data":{"content":"Zo\u00eb\n\"\ud83c\udf89\"\u2028\r\u0000"},'
        b'"run_id":"%b","seq":1,"timestamp":"' % run_id.encode()
    )
    assert first.startswith(expected)
    assert re.fullmatch(rb'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"}\n\n', first.removeprefix(expected))


async def test_nothing_is_visible_before_it_is_committed(log: EventLog) -> None:
    """Commit, then show: what is only put has no number and no reader."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED)
    async with aclosing(log.read(run_id, 0)) as pages:
        assert told(await anext(pages)) == [("run_started", {"model": "test/model"})]
        waiting = next_page(pages)
        writer.put(say("Hello"))
        writer.put(StepStarted(step=1, model="m"))
        assert not await settled(waiting)
        assert (writer.last_seq, await log.position(run_id)) == (1, LogPosition(1, ended=False))
        assert len(frames(await available(log, run_id))) == 1
        await writer.commit()
        assert (writer.last_seq, await log.position(run_id)) == (3, LogPosition(3, ended=False))
        assert [name for name, _ in told_after(await waiting)] == ["partial_output", "step_started"]


async def test_an_empty_commit_is_nothing(log: EventLog) -> None:
    """No event, no number, and no reader is woken."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED)
    async with aclosing(log.read(run_id, 1)) as pages:
        waiting = next_page(pages)
        await writer.commit()
        assert not await settled(waiting)
        writer.put(COMPLETE)
        await writer.commit()
        assert told_after(await waiting) == [("complete", COMPLETE.model_dump())]
    assert await log.position(run_id) == LogPosition(2, ended=True)


@pytest.mark.parametrize(
    ("put", "pieces"),
    [
        ([say("a"), say("b"), say("c")], ["abc"]),
        ([Thinking(content="a"), Thinking(content="b")], ["ab"]),
        ([Thinking(content="a"), say("b"), Thinking(content="c")], ["a", "b", "c"]),
        ([say("a"), StepStarted(step=2, model="m"), say("b"), say("c")], ["a", None, "bc"]),
        ([arguments("a"), arguments("b"), CALL], ["ab", None]),
        ([arguments("a"), arguments("b", "call_2"), arguments("c", "call_2")], ["a", "bc"]),
        ([arguments("a"), say("b"), arguments("c")], ["a", "b", "c"]),
        ([say("a"), None, say("b")], ["a", "b"]),
        ([say(""), say("a")], ["a"]),
    ],
)
async def test_neighbouring_deltas_of_a_commit_are_one_event(
    log: EventLog, put: list[EventData | None], pieces: list[str | None]
) -> None:
    """Joined: what one commit (None is where it ends) has of one kind, or of one call, with nothing in between."""
    run_id = new_id()
    writer = await log.create(run_id)
    for event in put:
        if event is None:
            await writer.commit()
        else:
            writer.put(event)
    await writer.commit()
    said = [data.get("content", data.get("arguments_delta")) for _, data in told(await available(log, run_id))]
    assert said == pieces


@pytest.mark.parametrize("text", ["x" * 200 * KIB, "🎉" * 30_000, "é" * 65_536 + "x" * 65_536])
@pytest.mark.parametrize("delta", [say, arguments])
async def test_a_large_delta_becomes_several_events(log: EventLog, delta: Any, text: str) -> None:
    """No delta above 64 KiB as it is encoded, and not a character lost, so a reader never needs much room."""
    run_id = new_id()
    await write(log, run_id, delta(text))
    body = await available(log, run_id)
    pieces = [data["content"] if "content" in data else data["arguments_delta"] for _, data in told(body)]
    assert "".join(pieces) == text
    assert len(pieces) > 1
    assert max(map(len, frames(body))) < 66 * KIB


async def test_commits_at_the_same_time_keep_every_event(log: EventLog) -> None:
    """Tools run at the same time, and each commits its result: nothing is lost, doubled or out of order."""
    run_id = new_id()
    writer = await log.create(run_id)

    async def call(number: int) -> None:
        writer.put(CALL.model_copy(update={"tool_call_id": f"call_{number}"}))
        await writer.commit()
        assert len(frames(await available(log, run_id))) >= number

    await asyncio.gather(*(call(number) for number in range(1, 51)))
    calls = [data["tool_call_id"] for _, data in told(await available(log, run_id))]
    assert calls == [f"call_{number}" for number in range(1, 51)]


# Fences


async def test_a_run_has_one_writer(log: EventLog) -> None:
    """A second one is refused while the first writes, and after the run has ended."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED)
    with pytest.raises(Fenced):
        await log.create(run_id)
    writer.put(COMPLETE)
    await writer.commit()
    with pytest.raises(Fenced):
        await log.create(run_id)
    assert [name for name, _ in told(await everything(log, run_id))] == ["run_started", "complete"]


async def test_complete_is_the_last_event(log: EventLog) -> None:
    """Whatever is put after it is refused, before the commit as after it, and leaves nothing behind."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED)
    writer.put(COMPLETE)
    for _ in range(2):
        for event in (say("late"), COMPLETE):
            with pytest.raises(Fenced):
                writer.put(event)
        await writer.commit()
    assert [name for name, _ in told(await everything(log, run_id))] == ["run_started", "complete"]
    assert await log.position(run_id) == LogPosition(2, ended=True)


async def test_a_writer_is_taken_over_from(log: EventLog) -> None:
    """The next one goes on after the last committed event; what the former only queued is lost, and it is fenced."""
    run_id = new_id()
    former = await write(log, run_id, STARTED)
    following = asyncio.create_task(everything(log, run_id))
    former.put(say("lost"))
    writer = await log.take_over(run_id)
    assert writer.last_seq == 1
    for _ in range(2):
        with pytest.raises(Fenced):
            former.put(say("late"))
        with pytest.raises(Fenced):
            await former.commit()
    writer.put(say("kept"))
    await writer.commit()
    writer.put(COMPLETE)
    await writer.commit()
    with pytest.raises(Fenced):
        await former.commit()
    whole = await everything(log, run_id)
    assert [data.get("content") for _, data in told(whole)] == [None, "kept", None]
    assert [event["seq"] for event in parse_frames(whole)] == [1, 2, 3]
    assert await following == whole


async def test_a_writer_that_rests_is_taken_over_from(log: EventLog) -> None:
    """A run that waits has no writer; its readers go on waiting, and get what the next writer commits."""
    run_id = new_id()
    former = await write(log, run_id, STARTED)
    following = asyncio.create_task(everything(log, run_id))
    former.put(say("lost"))
    for _ in range(2):
        await former.aclose()
    assert await log.position(run_id) == LogPosition(1, ended=False)
    assert run_id in await log.unarchived()
    writer = await log.take_over(run_id)
    writer.put(COMPLETE)
    await writer.commit()
    await writer.aclose()
    assert [name for name, _ in told(await following)] == ["run_started", "complete"]


async def test_a_run_is_taken_over_as_often_as_need_be(log: EventLog) -> None:
    """Also at the same time, and before its first event: the last one who does so is the writer."""
    run_id = new_id()
    writers = [await log.create(run_id), *await asyncio.gather(*(log.take_over(run_id) for _ in range(3)))]
    working = []
    for writer in writers:
        with suppress(Fenced):
            writer.put(COMPLETE)
            await writer.commit()
            working.append(writer)
    assert len(working) == 1
    assert await log.position(run_id) == LogPosition(1, ended=True)


async def test_only_a_run_under_way_is_taken_over(backend: Backend, log: EventLog) -> None:
    """One that has ended is not, archived or not, and what isn't there is told as by `position`."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED, COMPLETE)
    with pytest.raises(Fenced):
        await log.take_over(run_id)
    await writer.commit()
    await log.archive(run_id)
    with pytest.raises(Fenced):
        await log.take_over(run_id)
    with pytest.raises(RunNotFound):
        await log.take_over(new_id())
    await backend.expire(log, run_id)
    with pytest.raises(RunExpired):
        await log.take_over(run_id)


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
    """A page is 64 KiB at most, wherever it is cut: for who reads the past, who follows, and from every cursor."""
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
    """While it waits, or in the middle of the past: the run and its other readers go on."""
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
        assert [data for kind, data in told(await everything(log, run_id)) if kind == "partial_output"] == [
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
    """Whoever asks for it is mistaken, and is told so; the run goes on."""
    run_id = new_id()
    writer = await write(log, run_id, STARTED)
    for let_go in (log.archive, log.delete):
        with pytest.raises(ValueError, match="has not ended"):
            await let_go(run_id)
    writer.put(COMPLETE)
    await writer.commit()
    await log.archive(run_id)


async def test_what_is_not_there_is_neither_archived_nor_deleted(backend: Backend, log: EventLog) -> None:
    """It is told as by `position`: unknown, or past its retention."""
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
    """Not found, nowhere listed, and its id is free again; who is reading it reads on."""
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
    """Its writer is fenced, and who waits for its first event is told that there is no such run."""
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
    """It is told from one that never was, and its id can't be used again."""
    run_id = await finished(log, 3)
    await backend.expire(log, run_id)
    with pytest.raises(RunExpired):
        await log.position(run_id)
    with pytest.raises(RunExpired):
        await everything(log, run_id)
    with pytest.raises(Fenced):
        await log.create(run_id)


async def test_a_run_within_its_retention_stays(log: EventLog) -> None:
    """Retention lets go of nothing else."""
    run_id = await finished(log, 3)
    await log.expire()
    assert len(frames(await everything(log, run_id))) == 3


async def test_a_run_that_expires_is_read_to_its_end_by_who_is_reading_it(backend: Backend, log: EventLog) -> None:
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
    """Retention is for runs whose end is known to all who have to know it."""
    run_id, ended, other = new_id(), new_id(), await finished(log, 3)
    writer = await write(log, run_id, STARTED)
    await write(log, ended, STARTED, COMPLETE)
    await backend.expire(log, other)
    assert len(frames(await everything(log, ended))) == 2
    writer.put(COMPLETE)
    await writer.commit()
    assert [name for name, _ in told(await everything(log, run_id))] == ["run_started", "complete"]


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
    """What readiness asks."""
    await log.check()


# Against a model

TEXTS = st.text(max_size=6)
DELTAS = st.builds(say, TEXTS) | st.builds(lambda text: Thinking(content=text), TEXTS)
CALL_DELTAS = st.builds(arguments, TEXTS, st.sampled_from(["call_1", "call_2"]))
OTHERS = st.just(CALL) | st.builds(lambda step: StepStarted(step=step, model="m"), st.integers(1, 9))


class ModelledRun(RuleBasedStateMachine):
    """A run beside the simplest model of it: a list of what is queued, and a list of what is committed."""

    kind: type[Backend]

    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = scratch(self.kind)
        self.backend = self.kind(Path(self.directory.name))
        self.log = self.backend.open()
        self.run_id = new_id()
        self.followers: list[tuple[int, asyncio.Task[bytes]]] = []
        self.create()

    def create(self) -> None:
        self.writer: EventWriter | None = self.runner.run(self.log.create(self.run_id))
        self.queued: list[EventData] = []
        self.committed: list[EventData] = []
        self.seen = b""
        self.archived = False
        self.gone: type[RunExpired | RunNotFound] | None = None

    @property
    def ended(self) -> bool:
        return COMPLETE in self.committed

    @precondition(lambda self: self.writer and COMPLETE not in self.queued and not self.ended)
    @rule(event=DELTAS | CALL_DELTAS | OTHERS)
    def put(self, event: EventData) -> None:
        assert self.writer
        self.writer.put(event)
        joined = join(self.queued[-1], event) if self.queued else None
        self.queued[-1:] = [joined] if joined else [*self.queued[-1:], event]

    @precondition(lambda self: self.writer and COMPLETE not in self.queued and not self.ended)
    @rule()
    def put_complete(self) -> None:
        assert self.writer
        self.writer.put(COMPLETE)
        self.queued.append(COMPLETE)

    @precondition(lambda self: self.writer and COMPLETE in self.queued + self.committed)
    @rule(event=DELTAS | OTHERS)
    def put_too_late(self, event: EventData) -> None:
        assert self.writer
        with pytest.raises(Fenced):
            self.writer.put(event)

    @precondition(lambda self: self.writer)
    @rule()
    def commit(self) -> None:
        assert self.writer
        self.runner.run(self.writer.commit())
        self.committed += self.queued
        self.queued.clear()

    @precondition(lambda self: self.gone is not RunNotFound)
    @rule()
    def write_again(self) -> None:
        with pytest.raises(Fenced):
            self.runner.run(self.log.create(self.run_id))

    @precondition(lambda self: not self.gone)
    @rule()
    def take_over(self) -> None:
        if self.ended:
            with pytest.raises(Fenced):
                self.runner.run(self.log.take_over(self.run_id))
            return
        former, self.writer = self.writer, self.runner.run(self.log.take_over(self.run_id))
        self.queued.clear()
        assert former
        with pytest.raises(Fenced):
            former.put(say("late"))
        with pytest.raises(Fenced):
            self.runner.run(former.commit())

    @precondition(lambda self: not self.archived and not self.gone)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """What was committed is there; of what was being committed, any number of events that were written whole."""
        self.followers = [follower for follower in self.followers if not self.stop(follower)]
        queue = FrameQueue(self.run_id, len(self.committed))
        for event in [] if self.ended else self.queued:
            queue.put(event)
        commit = b"".join(queue.take())
        written = commit[: data.draw(st.integers(0, len(commit)))]
        self.log, found = self.runner.run(self.backend.crash(self.log, self.run_id, written))
        self.committed += self.queued[: len(frames(found))]
        self.queued.clear()
        self.writer = None if self.ended else self.runner.run(self.log.take_over(self.run_id))

    @precondition(lambda self: self.ended and not self.gone)
    @rule()
    def archive(self) -> None:
        self.runner.run(self.log.archive(self.run_id))
        self.archived = True

    @precondition(lambda self: self.archived and not self.gone)
    @rule()
    def expire(self) -> None:
        self.runner.run(self.backend.expire(self.log, self.run_id))
        self.gone = RunExpired

    @precondition(lambda self: self.ended and not self.gone)
    @rule()
    def delete(self) -> None:
        self.finish_followers()
        self.runner.run(self.log.delete(self.run_id))
        self.writer = None
        self.gone = RunNotFound

    @precondition(lambda self: self.gone is RunNotFound)
    @rule()
    def begin_again(self) -> None:
        self.create()

    @precondition(lambda self: not self.gone)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        whole = self.runner.run(available(self.log, self.run_id))
        assert whole.startswith(self.seen)
        self.seen = whole
        after = data.draw(st.integers(0, len(self.committed)))
        body = self.runner.run(available(self.log, self.run_id, after))
        self.check(body, after)
        assert body == b"".join(frames(whole)[after:])

    @precondition(lambda self: not self.gone)
    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        after = data.draw(st.integers(0, len(self.committed)))
        task = self.runner.get_loop().create_task(everything(self.log, self.run_id, after))
        self.runner.run(settled(task))
        self.followers.append((after, task))

    @precondition(lambda self: self.followers)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        follower = data.draw(st.sampled_from(self.followers))
        self.stop(follower)
        self.followers.remove(follower)

    def stop(self, follower: tuple[int, "asyncio.Task[bytes]"]) -> bool:
        """Have a reader leave, if it isn't through; tell whether it has."""
        _, task = follower
        task.cancel()
        self.runner.run(asyncio.wait([task]))
        return task.cancelled()

    @invariant()
    def the_log_tells_how_far_it_reaches(self) -> None:
        listed = [] if self.archived or self.gone else [self.run_id]
        assert self.runner.run(self.unarchived()) == listed
        if self.gone:
            with pytest.raises(self.gone):
                self.runner.run(self.log.position(self.run_id))
            with pytest.raises(self.gone):
                self.runner.run(available(self.log, self.run_id))
        else:
            reached = LogPosition(len(self.committed), self.ended)
            assert self.runner.run(self.log.position(self.run_id)) == reached
        assert self.writer is None or self.writer.last_seq == len(self.committed)

    async def unarchived(self) -> list[str]:
        """Whether this run is; a backend may have others."""
        return [run_id for run_id in await self.log.unarchived() if run_id == self.run_id]

    def check(self, body: bytes, after: int) -> None:
        """The frames tell the committed events from that one on, with their numbers."""
        events = [parse(frame) for frame in frames(body)]
        assert [event["data"] for event in events] == [event.model_dump() for event in self.committed[after:]]
        assert [event["seq"] for event in events] == list(range(after + 1, len(self.committed) + 1))

    def teardown(self) -> None:
        if not self.ended and COMPLETE not in self.queued:
            self.put_complete()
        if self.writer:
            self.commit()
        self.finish_followers()
        self.runner.run(self.log.aclose())
        self.runner.close()
        self.directory.cleanup()

    def finish_followers(self) -> None:
        """Each has been given all that was committed after its cursor."""
        for after, follower in self.followers:
            self.check(self.runner.run(asyncio.wait_for(follower, 5)), after)
        self.followers.clear()


def join(before: EventData, event: EventData) -> EventData | None:
    """Both in one, where they are deltas of the same thing."""
    match before, event:
        case PartialOutput(content=one), PartialOutput(content=other):
            return PartialOutput(content=one + other)
        case Thinking(content=one), Thinking(content=other):
            return Thinking(content=one + other)
        case ToolUseDelta(), ToolUseDelta() if before.tool_call_id == event.tool_call_id:
            return arguments(before.arguments_delta + event.arguments_delta, event.tool_call_id)
        case _:
            return None


def test_any_order_of_writing_and_reading_keeps_the_promises(kind: type[Backend]) -> None:
    """Put, commit, read, follow, leave, take over, crash, archive and let go, in any order: the log is as its model."""

    class Modelled(ModelledRun):
        pass

    Modelled.kind = kind
    run_state_machine_as_test(
        Modelled,
        settings=hypothesis_settings(stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]),
    )
