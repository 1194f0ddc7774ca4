"""Calls a marked function as a tool: checks its arguments, and limits its time and its concurrent calls."""

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from event_data import ToolSource
from services.tooling.base import ToolContext, ToolError
from services.tooling.decorator import ToolOptions, source_location
from services.tooling.results import as_text, is_plain
from services.tooling.signature import Signature
from services.tooling.tasks import LOOP_EXITS, ExitGuard, exit_error, guard_tasks, tool_name
from services.tooling.threads import ToolThreads

logger = logging.getLogger(__name__)

CLEANUP_S = 0.5  # that a cancelled coroutine has to clean up, before its run continues without it
QUEUED = "it was running as many calls as it allows at once"
NO_THREAD = "the service's threads for tools were all in use"


class PythonTool:
    """A function that models can call.

    `timeout_s` limits a call, including the wait for its turn and the writing of its result. A function without `async`
    runs in one of `threads`, which also write results that aren't plain. Raises `ToolsInvalid` for a signature without
    a schema.
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
        self.location = source_location(function)
        self._function = function
        self._threads = threads
        self._is_async = inspect.iscoroutinefunction(function)
        self._slots = asyncio.Semaphore(options.concurrency) if options.concurrency else None
        self._abandoned: set[asyncio.Task[Any]] = set()

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raise `InvalidArguments` for arguments that the function can't be called with."""
        self._signature.read(arguments)

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        """Call the function, and return its result: as text, unless it is plain. Raise what it raises.

        Raise `InvalidArguments`, or `ToolError` when the time is up. When the time is up or this is cancelled, the
        function's task is cancelled. If it ignores that, it is abandoned.
        """
        values = self._signature.read(arguments) | dict.fromkeys(self._signature.context_names, context)
        call = _Call(functools.partial(self._function, **values), context.stopped.is_set)
        task = asyncio.create_task(self._make(call), name=f"tool {self.name}")
        try:
            # asyncio.wait_for would wait for a task that ignores its cancellation, however long it runs.
            await asyncio.wait({task}, timeout=self.timeout_s)
            if not task.done():
                raise ToolError(self._timeout_message(call))
            if task.cancelled():
                raise ToolError(f"{self.name} cancelled itself.")
            error = task.exception()
            if error is not None and not isinstance(error, Exception):  # such as GeneratorExit
                raise exit_error(error) from error
            return task.result()
        finally:
            if not task.done():
                context.stopped.set()
                await self._abandon(task)

    async def _make(self, call: "_Call") -> Any:
        tool_name.set(self.name)
        guard_tasks(asyncio.get_running_loop())
        call.waits_because = QUEUED
        if self._slots:
            await self._slots.acquire()
        if self._is_async:
            call.waits_because = None
            return await self._awaited(call, call.function(), self._free_slot)
        call.waits_because = NO_THREAD
        result = await self._threads.run(call.in_thread, self._free_slot)
        if inspect.isawaitable(result):
            return await self._awaited(call, result, on_end=lambda: None)
        return result

    async def _awaited(self, call: "_Call", coroutine: Any, on_end: Callable[[], object]) -> Any:
        """Return the coroutine's result, as text unless it is plain. `on_end` is called when that is written."""
        try:
            with ExitGuard(LOOP_EXITS):
                result = await coroutine
        except BaseException:
            on_end()
            raise
        if is_plain(result):
            on_end()
            return result
        return await self._threads.write(functools.partial(as_text, result, call.stopped), on_end)

    def _free_slot(self) -> None:
        if self._slots:
            self._slots.release()

    def _timeout_message(self, call: "_Call") -> str:
        if call.waits_because:
            return f"{self.name} did not begin within {self.timeout_s:g} s: {call.waits_because}."
        return f"{self.name} did not finish within {self.timeout_s:g} s."

    async def _abandon(self, task: asyncio.Task[Any]) -> None:
        """Cancel a call's task, and wait a moment while it cleans up. Keep it until it ends, if it ignores that."""
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        task.cancel()
        await asyncio.wait({task}, timeout=CLEANUP_S)
        if not task.done():
            logger.warning("the tool %s ignores its cancellation and was abandoned", self.name)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.warning("the tool %s failed while it was stopped", self.name, exc_info=error)


class _Call:
    """One call. `waits_because` is why it hasn't begun. `stopped` returns whether it was abandoned."""

    def __init__(self, function: Callable[[], Any], stopped: Callable[[], bool]) -> None:
        self.function = function
        self.stopped = stopped
        self.waits_because: str | None = None

    def in_thread(self) -> Any:
        """Call the function and write its result as text, in this thread, so that neither blocks the event loop."""
        self.waits_because = None
        result = self.function()
        return result if inspect.isawaitable(result) else as_text(result, self.stopped)
