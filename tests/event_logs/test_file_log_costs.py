"""Tests the costs of the log in files: memory, descriptors and reads."""

import asyncio
import json
import random
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from log_backends import (
    COMPLETE,
    KIB,
    MANY,
    check_pages,
    everything,
    frames,
    new_id,
    next_page,
    pages_of,
    say,
    settled,
    write,
)
from log_files import STEP, WEEK_S, active, open_descriptors

from errors import LogUnavailable
from event_data import FinalOutput
from event_logs.base import Fenced
from event_logs.file import FileEventLog
from event_logs.file_reading import RECENT_BYTES
from event_logs.frames import PAGE_BYTES

pytestmark = pytest.mark.anyio


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[FileEventLog]:
    async with aclosing(FileEventLog(tmp_path, retention_s=WEEK_S, fsync="never")) as opened:
        yield opened


# What it costs


async def test_a_reader_that_keeps_up_needs_no_file(log: FileEventLog) -> None:
    """All get the very bytes that were written; a file is opened for readers of the past, and closed after them."""
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
