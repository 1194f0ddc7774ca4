"""The two parts that the asynchronous and the synchronous client each have in their own form.

All the rest of the synchronous client is generated from the asynchronous one.
"""

import asyncio
import inspect
import threading
from typing import Any

from agent_stream.tools import Function


class AsyncAlarm:
    """A pause that ends early when another task sets it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """End the current pause, or else the next one."""
        self._event.set()

    async def wait(self, seconds: float) -> bool:
        """Return after this time, or with True as soon as the alarm is set."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Alarm:
    """A pause that ends early when another thread sets it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """End the current pause, or else the next one."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Return after this time, or with True as soon as the alarm is set."""
        was_set = self._event.wait(seconds)
        self._event.clear()
        return was_set


class AsyncCalls:
    """Calls functions of the caller's program: those that are not `async` in a thread."""

    @staticmethod
    def check(function: Function) -> None:
        """Accept any function."""

    @staticmethod
    async def make(function: Function, arguments: dict[str, Any]) -> Any:
        """Return what the function returns."""
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        return await asyncio.to_thread(function, **arguments)


class Calls:
    """Calls functions of the caller's program."""

    @staticmethod
    def check(function: Function) -> None:
        """Raise `TypeError` for a function that is `async`."""
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{function.__name__} is async: register it with an AsyncAgentStream")

    @staticmethod
    def make(function: Function, arguments: dict[str, Any]) -> Any:
        """Return what the function returns."""
        return function(**arguments)
