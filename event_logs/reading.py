"""Reads a run's pages, as its log yields them, as whole frames and as events."""

import asyncio
from collections.abc import AsyncGenerator, Container
from contextlib import aclosing

from event_logs.frames import FRAME_END
from events import STREAM_EVENT, StreamEvent

NAME_PREFIX = b"\nevent: "
DATA_PREFIX = b"\ndata: "
YIELD_AFTER = 16  # frames in a page; smaller ones are commits of a live run, whose reader waits for each anyway


async def frames_in(pages: AsyncGenerator[bytes, None]) -> AsyncGenerator[list[bytes], None]:
    """Yield the frames that each page completes, without the blank line that ends each frame."""
    unfinished: list[bytes] = []
    async with aclosing(pages):
        async for page in pages:
            unfinished.append(page)
            if page.endswith(FRAME_END):
                yield b"".join(unfinished).split(FRAME_END)[:-1]
                unfinished.clear()


def name_of(frame: bytes) -> str:
    """Return a frame's event name."""
    start = frame.index(NAME_PREFIX) + len(NAME_PREFIX)
    return frame[start : frame.index(b"\n", start)].decode()


def json_of(frame: bytes) -> bytes:
    """Return a frame's data: the event as one line of JSON."""
    return frame[frame.index(DATA_PREFIX) + len(DATA_PREFIX) :]


async def events_in(
    pages: AsyncGenerator[bytes, None], names: Container[str] | None = None
) -> AsyncGenerator[StreamEvent, None]:
    """Yield the events in order. With `names`, yield only events with these names; the others aren't decoded.

    Raise ValueError if the log is damaged.
    """
    async with aclosing(frames_in(pages)) as pages_of_frames:
        async for frames in pages_of_frames:
            if len(frames) > YIELD_AFTER:
                # A stored run is read without a single wait, so other tasks get their turn between its pages.
                await asyncio.sleep(0)
            for frame in frames:
                if names is None or name_of(frame) in names:
                    yield STREAM_EVENT.validate_json(json_of(frame))
