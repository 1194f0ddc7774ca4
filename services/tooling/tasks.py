"""Keeps the code of tools from ending more than its own call.

`SystemExit` in a task ends the event loop, and with it every run. So a tool's call turns it into an ordinary exception.
A tool can also start tasks of its own (`asyncio.create_task`), so each task that is made in its context is guarded as
well.
"""

import asyncio
import logging
from collections.abc import Coroutine, Generator
from contextvars import Context, ContextVar
from types import TracebackType
from typing import Any

logger = logging.getLogger(__name__)

LOOP_EXITS = (SystemExit, KeyboardInterrupt)
"""Exceptions that end the event loop when a task raises them."""
THREAD_EXITS = (*LOOP_EXITS, GeneratorExit, StopIteration)
"""Exceptions that a future can't carry from a thread to the loop, and those that end the loop there."""

tool_name: ContextVar[str | None] = ContextVar("tool_name", default=None)
"""The name of the tool whose code runs in this context."""


class ExitGuard:
    """A context manager that turns the given exceptions into a `RuntimeError`."""

    def __init__(self, exits: tuple[type[BaseException], ...]) -> None:
        self._exits = exits

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raise a `RuntimeError` in place of one of the exceptions."""
        if isinstance(error, self._exits):
            raise exit_error(error) from error


def exit_error(error: BaseException) -> RuntimeError:
    """Return an ordinary exception in place of one that would end more than the call."""
    return RuntimeError(f"{type(error).__name__} in a tool")


def guard_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Guard the tasks that tools make in this loop, unless the loop has a task factory already."""
    if loop.get_task_factory() is None:
        loop.set_task_factory(_make)


def _make(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: Context | None = None,
) -> asyncio.Future[Any]:
    guarded = coroutine if tool_name.get() is None else _guarded(coroutine)
    return asyncio.Task(guarded, loop=loop, context=context)


async def _guarded(coroutine: Any) -> Any:
    try:
        with ExitGuard(LOOP_EXITS):
            return await coroutine
    except RuntimeError as error:
        if isinstance(error.__cause__, LOOP_EXITS):
            logger.exception("a task of the tool %s tried to end the service, which keeps running", tool_name.get())
        raise
