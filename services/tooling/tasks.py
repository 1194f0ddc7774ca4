"""What a tool starts in the event loop, kept from ending more than itself.

`SystemExit` in a task ends the loop, and with it every run. A tool's own call is guarded, but it can leave tasks behind
(`asyncio.create_task`). So while a tool runs, each task that is made in its context is guarded as well.
"""

import asyncio
import logging
from collections.abc import Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any

logger = logging.getLogger(__name__)

inside: ContextVar[str | None] = ContextVar("inside", default=None)
"""The name of the tool in whose context this is."""


async def without_exit(coroutine: Any) -> Any:
    """Await it. What would end the loop becomes an ordinary exception."""
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"{type(error).__name__} in a tool") from error


def guard(loop: asyncio.AbstractEventLoop) -> None:
    """Guard the tasks of tools in this loop, unless it has a way of its own to make tasks."""
    if loop.get_task_factory() is None:
        loop.set_task_factory(_make)


def _make(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    context: Context | None = None,
) -> asyncio.Future[Any]:
    made = coroutine if inside.get() is None else _left(coroutine)
    return asyncio.Task(made, loop=loop, context=context)


async def _left(coroutine: Any) -> Any:
    try:
        return await without_exit(coroutine)
    except RuntimeError as error:
        if isinstance(error.__cause__, SystemExit | KeyboardInterrupt):
            logger.exception("a task of the tool %s wanted to end the service, which goes on", inside.get())
        raise
