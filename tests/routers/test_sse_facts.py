"""The facts about sse-starlette on which `routers/sse.py` relies: an upgrade that changes one fails here first."""

import inspect
from collections.abc import AsyncIterator

import anyio
import pytest
from sse_starlette import EventSourceResponse
from starlette.types import Message

from routers.sse import FrameStream

pytestmark = pytest.mark.anyio

TAKEN = ("__call__", "_stream_response", "_ping")


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


@pytest.mark.parametrize("name", TAKEN)
def test_a_method_that_is_replaced_is_there_and_is_called(name: str) -> None:
    """It has the same parameters; otherwise the library's own method would run, or none."""
    theirs, ours = getattr(EventSourceResponse, name), getattr(FrameStream, name)
    assert theirs is not ours
    assert inspect.iscoroutinefunction(theirs)
    assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters)


async def test_a_client_that_leaves_ends_the_wait_for_it() -> None:
    """The library's listener returns at `http.disconnect`, after which the response isn't active any more."""
    response = EventSourceResponse(nothing())

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    assert response.active
    await response._listen_for_disconnect(receive)
    assert not response.active


async def test_a_lock_keeps_pings_out_of_a_frame() -> None:
    """The library creates the lock for its own pings, which ours replace."""
    assert isinstance(EventSourceResponse(nothing())._send_lock, anyio.Lock)
