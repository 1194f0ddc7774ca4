"""The facts about sse-starlette that `routers/sse.py` stands on: an upgrade that changes one is noticed here first."""

import inspect
from collections.abc import AsyncIterator

import anyio
import pytest
from sse_starlette import EventSourceResponse
from sse_starlette.sse import AppStatus, SendTimeoutError

from routers.sse import FrameStream

pytestmark = pytest.mark.anyio

TAKEN = ("_stream_response", "_listen_for_exit_signal_with_grace")


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


@pytest.mark.parametrize("name", TAKEN)
def test_a_method_that_is_replaced_is_there_and_is_called(name: str) -> None:
    """With the same parameters, by the library's own `__call__`; otherwise its own form would run, or none."""
    theirs, ours = getattr(EventSourceResponse, name), getattr(FrameStream, name)
    assert theirs is not ours
    assert inspect.iscoroutinefunction(theirs)
    assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters)
    assert f"self.{name}" in inspect.getsource(EventSourceResponse.__call__)


async def test_the_lock_keeps_pings_out_of_a_frame() -> None:
    """The library sends its pings under it, and looks at `active` first."""
    assert isinstance(EventSourceResponse(nothing())._send_lock, anyio.Lock)
    ping = inspect.getsource(EventSourceResponse._ping)
    assert "self._send_lock" in ping
    assert "self.active" in ping


def test_the_library_s_own_drain_can_be_turned_off() -> None:
    """And a reader that takes nothing is an error of its own."""
    assert AppStatus.enable_automatic_graceful_drain is False
    assert issubclass(SendTimeoutError, Exception)
