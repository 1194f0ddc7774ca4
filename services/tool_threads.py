"""The threads that tools without `async` run in: the service's own, so that nothing else waits for a tool."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any


class ToolThreads:
    """At most so many threads. A call that nobody waits for any more keeps its thread until it returns."""

    def __init__(self, limit: int) -> None:
        self._pool = ThreadPoolExecutor(limit, thread_name_prefix="tool")

    async def run(self, function: Callable[[], Any], on_end: Callable[[], object]) -> Any:
        """What the function gives, called in a thread with this task's context variables.

        `on_end` is called in this loop when the thread is done, or the call's turn will never come. A cancelled call
        that waits for its turn loses it; one in its thread goes on there, and nobody hears what it gives.
        """
        loop = asyncio.get_running_loop()
        future = self._pool.submit(contextvars.copy_context().run, _without_exit, function)
        future.add_done_callback(lambda _: _soon(loop, on_end))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Take no more calls, and drop those that wait. Those in their threads are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _without_exit(function: Callable[[], Any]) -> Any:
    """Call it. What would end more than the call, or break a future, becomes an ordinary exception."""
    try:
        return function()
    except (SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration) as error:
        raise RuntimeError(f"{type(error).__name__} in a tool") from error


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits there
        loop.call_soon_threadsafe(callback)
