"""A run's pages, as its log gives them, into whole frames and events."""

import asyncio
from collections.abc import AsyncGenerator, Container
from contextlib import aclosing

from events import STREAM_EVENT, StreamEvent

NAME = b"\nevent: "
DATA = b"\ndata: "
MANY = 16


async def frames_in(pages: AsyncGenerator[bytes, None]) -> AsyncGenerator[list[bytes], None]:
    """The frames that each page completes, without the blank line that ends each."""
    unfinished: list[bytes] = []
    async with aclosing(pages):
        async for page in pages:
            unfinished.append(page)
            if page.endswith(b"\n\n"):
                yield b"".join(unfinished).split(b"\n\n")[:-1]
                unfinished.clear()


def name_of(frame: bytes) -> str:
    """A frame's event name."""
    start = frame.index(NAME) + len(NAME)
    return frame[start : frame.index(b"\n", start)].decode()


def json_of(frame: bytes) -> bytes:
    """A frame's data: the event as one line of JSON."""
    return frame[frame.index(DATA) + len(DATA) :]


async def events_in(
    pages: AsyncGenerator[bytes, None], names: Container[str] | None = None
) -> AsyncGenerator[StreamEvent, None]:
    """The events in order; with `names`, only those, and the others cost next to nothing.

    Raise ValueError where the log is damaged.
    """
    async with aclosing(frames_in(pages)) as each:
        async for frames in each:
            if len(frames) > MANY:
                await asyncio.sleep(0)  # a stored run never waits, and others have their turn between its pages
            for frame in frames:
                if names is None or name_of(frame) in names:
                    yield STREAM_EVENT.validate_json(json_of(frame))
