"""Limits amounts per second, such as a server's notifications."""

import time


class PerSecond:
    """Counts an amount, and starts again every second. `limit` is the most that may come within one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._amount = 0
        self._since = time.monotonic()

    def exceeded_by(self, more: int) -> bool:
        """Count more of it. Returns whether the limit is exceeded."""
        now = time.monotonic()
        if now > self._since + 1:
            self._amount, self._since = 0, now
        self._amount += more
        return self._amount > self._limit
