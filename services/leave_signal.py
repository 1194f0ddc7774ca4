"""Asks streams to end: all of them when the service stops, or those of one API key."""

import asyncio
from collections.abc import Callable


class LeaveSignal:
    """Asks every reader to leave, once, by a callback. A task for each reader that waits would cost memory."""

    def __init__(self) -> None:
        self._callbacks: set[Callable[[], None]] = set()
        self._is_given = False

    def give(self) -> None:
        """Call all callbacks. Idempotent."""
        if not self._is_given:
            self._is_given = True
            for callback in list(self._callbacks):
                callback()

    def call(self, callback: Callable[[], None]) -> None:
        """Call this when the signal is given, or soon if it has been given."""
        self._callbacks.add(callback)
        if self._is_given:
            asyncio.get_running_loop().call_soon(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        """Don't call this any more."""
        self._callbacks.discard(callback)
