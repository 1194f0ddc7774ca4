"""A marked function as a tool: its arguments checked, its time and its places bounded, however it behaves."""

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from events import ToolSource
from services.tooling.base import ToolContext, ToolError
from services.tooling.decorator import ToolOptions, place
from services.tooling.results import as_text, is_plain
from services.tooling.signature import Signature
from services.tooling.tasks import guard, inside, without_exit
from services.tooling.threads import ToolThreads

logger = logging.getLogger(__name__)

LETTING_GO_S = 0.5  # for a stopped coroutine to clean up


class PythonTool:
    """A function that models can call.

    `timeout_s` is how long a call may take, waiting for its turn and the writing of its result included. A function
    without `async` runs in one of `threads`, which also write what isn't plain. Raise `ToolsInvalid` for a signature
    that has no schema.
    """

    source: ToolSource = "python"
    server: str | None = None

    def __init__(
        self, function: Callable[..., Any], options: ToolOptions, *, timeout_s: float, threads: ToolThreads
    ) -> None:
        self._signature = Signature(function)
        self.name = options.name or function.__name__
        self.description = self._signature.description
        self.parameters = self._signature.parameters
        self.approval = options.approval
        self.idempotent = options.idempotent
        self.timeout_s = options.timeout or timeout_s
        self.place = place(function)
        self._function = function
        self._threads = threads
        self._is_async = inspect.iscoroutinefunction(function)
        self._places = asyncio.Semaphore(options.concurrency) if options.concurrency else None
        self._left: set[asyncio.Task[Any]] = set()

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise `InvalidArguments` unless a call could be made with these."""
        self._signature.read(arguments)

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """Make a call, and give what the function returns, as text unless it is plain. Raise what it raises.

        Raise `InvalidArguments`, and `ToolError` when the time is up. The function is told to stop when the time is up
        or this is cancelled, and left behind if it doesn't.
        """
        values = self._signature.read(arguments) | dict.fromkeys(self._signature.context_names, context)
        call = _Call(functools.partial(self._function, **values), context.stopped.is_set)
        task = asyncio.create_task(self._make(call), name=f"tool {self.name}")
        try:
            await asyncio.wait({task}, timeout=self.timeout_s)
            if not task.done():
                raise ToolError(self._late(call))
            if task.cancelled():
                raise ToolError(f"{self.name} was cancelled from within.")
            error = task.exception()
            if error is not None and not isinstance(error, Exception):  # such as GeneratorExit
                raise RuntimeError(f"{type(error).__name__} in a tool") from error
            return task.result()
        finally:
            if not task.done():
                context.stopped.set()
                await self._let_go(task)

    async def _make(self, call: "_Call") -> Any:
        inside.set(self.name)
        guard(asyncio.get_running_loop())
        call.waits_for = "as many calls of it as it allows at once were going on"
        if self._places:
            await self._places.acquire()
        if self._is_async:
            call.waits_for = None
            return await self._written(call, call.function(), self._end)
        call.waits_for = "the service's threads for tools were all taken"
        result = await self._threads.run(call.in_thread, self._end)
        return await self._written(call, result, lambda: None) if inspect.isawaitable(result) else result

    async def _written(self, call: "_Call", coroutine: Any, on_end: Callable[[], object]) -> Any:
        """What it gives, as text if the writing may take time. `on_end` is called when all of it is done."""
        try:
            result = await without_exit(coroutine)
        except BaseException:
            on_end()
            raise
        if is_plain(result):
            on_end()
            return result
        return await self._threads.write(functools.partial(as_text, result, call.stopped), on_end)

    def _end(self) -> None:
        if self._places:
            self._places.release()

    def _late(self, call: "_Call") -> str:
        if call.waits_for:
            return f"{self.name} did not begin within {self.timeout_s:g} s: {call.waits_for}."
        return f"{self.name} did not finish within {self.timeout_s:g} s."

    async def _let_go(self, task: asyncio.Task[Any]) -> None:
        """Cancel a call, and give it a moment to clean up. One that ignores it is left behind."""
        self._left.add(task)
        task.add_done_callback(self._forget)
        task.cancel()
        await asyncio.wait({task}, timeout=LETTING_GO_S)
        if not task.done():
            logger.warning("the tool %s ignores its cancellation and is left behind", self.name)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.warning("the tool %s failed while it was stopped", self.name, exc_info=error)


class _Call:
    """One call. `waits_for` is why it hasn't begun; `stopped` says whether nobody waits for it any more."""

    def __init__(self, function: Callable[[], Any], stopped: Callable[[], bool]) -> None:
        self.function = function
        self.stopped = stopped
        self.waits_for: str | None = None

    def in_thread(self) -> Any:
        """Call it, and write what it gives as text there, too, where the loop isn't held up by it."""
        self.waits_for = None
        result = self.function()
        return result if inspect.isawaitable(result) else as_text(result, self.stopped)
