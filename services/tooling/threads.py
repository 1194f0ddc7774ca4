"""Runs tools without `async` in threads of their own, so that nothing else in the service waits for a tool's thread."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from services.tooling.tasks import THREAD_EXITS, ExitGuard

WRITERS = 4  # threads that write results


class ToolThreads:
    """Threads for at most `limit` calls. A call that was abandoned keeps its thread until it returns.

    A few more threads write the results of `async` tools, which therefore never wait for a thread that a call keeps.
    """

    def __init__(self, limit: int) -> None:
        self._calls = ThreadPoolExecutor(limit, thread_name_prefix="tool")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="tool-result")

    async def run(self, function: Callable[[], Any], on_end: Callable[[], object]) -> Any:
        """Call the function in a thread, with this task's context variables, and return its result.

        `on_end` is called in this loop when the thread has finished, or when the call is cancelled before it begins. A
        call that is cancelled later finishes in its thread, and its result is discarded.
        """
        return await _run(self._calls, function, on_end)

    async def write(self, function: Callable[[], str], on_end: Callable[[], object]) -> str:
        """Call a function that writes a result, as `run` does."""
        text: str = await _run(self._writers, function, on_end)
        return text

    def close(self) -> None:
        """Accept no more calls, and cancel those that wait for a thread. Calls in their threads are not waited for."""
        for pool in (self._calls, self._writers):
            pool.shutdown(wait=False, cancel_futures=True)


async def _run(pool: ThreadPoolExecutor, function: Callable[[], Any], on_end: Callable[[], object]) -> Any:
    loop = asyncio.get_running_loop()
    future = pool.submit(contextvars.copy_context().run, _guarded, function)
    # The callback is the pool's: it is also called when this task is cancelled and the thread ends later.
    future.add_done_callback(lambda _: _call_in(loop, on_end))
    return await asyncio.wrap_future(future)


def _guarded(function: Callable[[], Any]) -> Any:
    with ExitGuard(THREAD_EXITS):
        return function()


def _call_in(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop is closed, so nothing waits there any more
        loop.call_soon_threadsafe(callback)
