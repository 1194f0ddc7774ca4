"""The threads that tools without `async` run in: the service's own, so that nothing else waits for a tool."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

WRITERS = 4


class ToolThreads:
    """At most so many threads. A call that nobody waits for any more keeps its thread until it returns.

    A few more write what calls of `async` tools have given, so that these need none that a call can keep.
    """

    def __init__(self, limit: int) -> None:
        self._calls = ThreadPoolExecutor(limit, thread_name_prefix="tool")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="tool-result")

    async def run(self, function: Callable[[], Any], on_end: Callable[[], object]) -> Any:
        """What the function gives, called in a thread with this task's context variables.

        `on_end` is called in this loop when the thread is done, or the call's turn will never come. A cancelled call
        that waits for its turn loses it; one in its thread goes on there, and nobody hears what it gives.
        """
        return await _run(self._calls, function, on_end)

    async def write(self, function: Callable[[], str], on_end: Callable[[], object]) -> str:
        """As `run`, for the writing of a result."""
        text: str = await _run(self._writers, function, on_end)
        return text

    def close(self) -> None:
        """Take no more calls, and drop those that wait. Those in their threads are not waited for."""
        for pool in (self._calls, self._writers):
            pool.shutdown(wait=False, cancel_futures=True)


async def _run(pool: ThreadPoolExecutor, function: Callable[[], Any], on_end: Callable[[], object]) -> Any:
    loop = asyncio.get_running_loop()
    future = pool.submit(contextvars.copy_context().run, _without_exit, function)
    future.add_done_callback(lambda _: _soon(loop, on_end))
    return await asyncio.wrap_future(future)


def _without_exit(function: Callable[[], Any]) -> Any:
    """Call it. What would end more than the call, or break a future, becomes an ordinary exception."""
    try:
        return function()
    except (SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration) as error:
        raise RuntimeError(f"{type(error).__name__} in a tool") from error


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits there
        loop.call_soon_threadsafe(callback)
