"""Calls the functions of CHECK_INPUT and CHECK_OUTPUT, which decide whether a text may pass.

A check fails closed: if its function raises, takes too long or returns something else, no text passes. What the log has
of a failure never quotes the text, or the message of an exception, which may quote it.
"""

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from errors import CheckFailed
from services.tooling.decorator import ToolsInvalid, source_location
from services.tooling.modules import imported, place_in
from services.tooling.tasks import LOOP_EXITS, ExitGuard
from services.tooling.threads import ToolThreads
from setting_names import did_you_mean

logger = logging.getLogger(__name__)

MAX_REASON = 200  # characters

CheckKind = Literal[
    "input", "thinking", "text", "arguments", "tool_name", "tool_result", "source", "data", "provider_state"
]


@dataclass(frozen=True, slots=True)
class Blocked:
    """Returned by a check for a text that may not pass. Callers see the reason, so it must not quote the text."""

    reason: str = ""

    @property
    def shown(self) -> str:
        """The reason on one line, for an error message and the log."""
        return " ".join(str(self.reason).split())[:MAX_REASON]

    def explained(self, message: str) -> str:
        """Return the message with the reason, if there is one."""
        return f"{message} Reason: {self.shown}" if self.shown else message


@dataclass(frozen=True, slots=True)
class CheckContext:
    """The run, step and tool that a checked text belongs to.

    `kind` says what the text is. `step` is the model turn that wrote it, and 0 for a request's input. `tool` is the
    tool of arguments or of a result. `caller` is the owner of the run, or None while authentication is off. `metadata`
    is that of the request.
    """

    kind: CheckKind
    run_id: str
    session_id: str | None
    caller: str | None
    metadata: Mapping[str, str]
    step: int = 0
    tool: str | None = None


class TextCheck:
    """A function of the operator's that checks texts. `setting` is the one that names it, as `module:function`.

    A function without `async` runs in one of `threads`. Raises `ToolsInvalid` if there is no such function.
    """

    def __init__(self, setting: str, named: str, *, timeout_s: float, threads: ToolThreads) -> None:
        self._setting = setting
        self._module = named.partition(":")[0]
        self._function = _function_of(setting, named)
        self._is_async = inspect.iscoroutinefunction(self._function)
        self._timeout_s = timeout_s
        self._threads = threads
        self._under_way: set[asyncio.Task[Any]] = set()

    async def blocks(self, context: CheckContext, text: str) -> Blocked | None:
        """Return why the text may not pass, or None if it may. Raise `CheckFailed` if that can't be found out.

        A call whose time is up, or whose run ends, is cancelled and not waited for.
        """
        task = asyncio.create_task(self._call(context, text), name=f"{context.run_id} check")  # see `log_lines`
        self._under_way.add(task)
        task.add_done_callback(self._finished)
        try:
            await asyncio.wait({task}, timeout=self._timeout_s)
            return self._verdict(task)
        finally:
            task.cancel()

    async def _call(self, context: CheckContext, text: str) -> Any:
        call = functools.partial(self._function, context, text)
        with ExitGuard(LOOP_EXITS):
            result = call() if self._is_async else await self._threads.run(call, lambda: None)
            return await result if inspect.isawaitable(result) else result

    def _finished(self, task: asyncio.Task[Any]) -> None:
        """Forget a call. Its exception counts as retrieved, because asyncio would log its message otherwise."""
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()

    def _verdict(self, task: asyncio.Task[Any]) -> Blocked | None:
        if not task.done():
            self._fail(f"did not finish within {self._timeout_s:g} s (CHECK_TIMEOUT_S)")
        if task.cancelled():
            self._fail("cancelled itself")
        if error := task.exception():
            self._fail(f"raised {type(error).__name__} ({place_in(error, self._module)})")
        result = task.result()
        if not isinstance(result, Blocked | None):
            self._fail(f"returned a {type(result).__name__}, and not None or Blocked")
        return result

    def _fail(self, how: str) -> NoReturn:
        logger.error("%s %s: nothing passes", self._setting, how)
        raise CheckFailed


def _function_of(setting: str, named: str) -> Callable[..., Any]:
    """Import the function that a setting names. Raise `ToolsInvalid`."""
    module_name, _, name = named.partition(":")
    module = imported(module_name, f"the setting {setting}")
    function = getattr(module, name, None)
    if function is None:
        suggestion = did_you_mean(name, vars(module))
        raise ToolsInvalid(f"the module {module_name} has no {name}, which the setting {setting} names{suggestion}")
    if not callable(function):
        raise ToolsInvalid(f"{setting} names {named}, which is a {type(function).__name__} and not a function")
    try:
        inspect.signature(function).bind(None, "")
    except TypeError:
        message = f"a check takes two arguments, a CheckContext and a text ({setting})"
        raise ToolsInvalid(f"{source_location(function)}: {message}") from None
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ToolsInvalid(f"{source_location(function)}: a check returns its decision: use return, not yield")
    return function  # type: ignore[no-any-return]
