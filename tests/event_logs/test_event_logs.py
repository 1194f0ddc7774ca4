"""Tests the promises of every event log to writers. A new backend joins `BACKENDS`, and passes these tests, too."""

import asyncio
import re
from contextlib import aclosing, suppress
from typing import Any

import pytest
from grammar import parse_frames
from log_backends import (
    CALL,
    COMPLETE,
    KIB,
    STARTED,
    Backend,
    arguments,
    available,
    everything,
    frames,
    names_and_data,
    new_id,
    next_page,
    say,
    settled,
    told_after,
    write,
)

from errors import RunExpired, RunNotFound
from event_data import EventData, StepStarted, Thinking
from event_logs.base import EventLog, Fenced, LogPosition

pytest_plugins = "log_fixtures"
pytestmark = pytest.mark.anyio


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
        assert names_and_data(await anext(pages)) == [("run_started", {"model": "test/model"})]
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
    said = [
        data.get("content", data.get("arguments_delta")) for _, data in names_and_data(await available(log, run_id))
    ]
    assert said == pieces


@pytest.mark.parametrize("text", ["x" * 200 * KIB, "🎉" * 30_000, "é" * 65_536 + "x" * 65_536])
@pytest.mark.parametrize("delta", [say, arguments])
async def test_a_large_delta_becomes_several_events(log: EventLog, delta: Any, text: str) -> None:
    """No delta above 64 KiB as it is encoded, and not a character lost, so a reader never needs much room."""
    run_id = new_id()
    await write(log, run_id, delta(text))
    body = await available(log, run_id)
    pieces = [data["content"] if "content" in data else data["arguments_delta"] for _, data in names_and_data(body)]
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
    calls = [data["tool_call_id"] for _, data in names_and_data(await available(log, run_id))]
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
    assert [name for name, _ in names_and_data(await everything(log, run_id))] == ["run_started", "complete"]


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
    assert [name for name, _ in names_and_data(await everything(log, run_id))] == ["run_started", "complete"]
    assert await log.position(run_id) == LogPosition(2, ended=True)


async def test_a_writer_is_taken_over_from(log: EventLog) -> None:
    """The next one continues after the last committed event; what the former only queued is lost, and it is fenced."""
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
    assert [data.get("content") for _, data in names_and_data(whole)] == [None, "kept", None]
    assert [event["seq"] for event in parse_frames(whole)] == [1, 2, 3]
    assert await following == whole


async def test_a_writer_that_rests_is_taken_over_from(log: EventLog) -> None:
    """A run that waits has no writer; its readers continue to wait, and get what the next writer commits."""
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
    assert [name for name, _ in names_and_data(await following)] == ["run_started", "complete"]


async def test_a_run_is_taken_over_as_often_as_need_be(log: EventLog) -> None:
    """Also at the same time, and before its first event: the last one that does so is the writer."""
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


@pytest.mark.parametrize("run_id", ["run_" + "f" * 32, "run_" + "0" * 32, "nothing", ""])
async def test_a_run_that_nobody_has_started_is_missing(run_id: str, log: EventLog) -> None:
    """What is missing is told by the id alone, as by a look into the log: for a new id, an old one, and no id."""
    with pytest.raises((RunNotFound, RunExpired)) as raised:
        await log.position(run_id)
    assert type(log.missing(run_id)) is type(raised.value)


async def test_only_a_run_under_way_is_taken_over(backend: Backend, log: EventLog) -> None:
    """One that has ended is not, archived or not, and what isn't there is reported as by `position`."""
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
