"""Decides whether and when to try again."""

import random

from agent_stream.errors import AgentStreamError, ApiError

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 10.0
LONGEST_RETRY_AFTER_S = 600.0
START_RETRIES = 5


def delay_s(failures: int) -> float:
    """Return the delay after a number of failures: growing, bounded, and random, since all clients fail at once."""
    longest: float = min(FIRST_DELAY_S * 2 ** min(failures, 10), LONGEST_DELAY_S)
    return longest * random.uniform(0.5, 1)  # noqa: S311 - not for security


class Retries:
    """Counts failures in a row. After more than `most` of them, or after one that is final, it raises the error.

    Unlike a request, a run that has started (`is_started`) is read until the service itself reports that it can't be:
    an error page of a proxy is an outage.
    """

    def __init__(self, most: int | None, *, is_started: bool = False) -> None:
        self._most = most
        self._is_started = is_started
        self._failures = 0
        self._asked_s = 0.0

    def next_delay_s(self) -> float:
        """Return how long to wait before the next try, in seconds."""
        asked_s, self._asked_s = self._asked_s, 0.0
        return asked_s + (delay_s(self._failures - 1) if self._failures else 0)

    def wait_for(self, seconds: float) -> None:
        """Wait this long before the next try, because the service asked for it."""
        self._asked_s = min(seconds, LONGEST_RETRY_AFTER_S)

    def reset(self) -> None:
        """Begin again, after a success."""
        self._failures = 0

    def fail(self, error: AgentStreamError) -> None:
        """Count a failure. Raise the error if another try is useless or would be one too many."""
        if self._is_final(error) or (self._most is not None and self._failures >= self._most):
            raise error
        self._failures += 1
        if error.retry_after is not None:
            self.wait_for(error.retry_after)

    def _is_final(self, error: AgentStreamError) -> bool:
        if not isinstance(error, ApiError):
            return not error.retryable
        if self._is_started:
            return error.is_from_service and not error.retryable
        return not error.retryable or (error.is_from_service and error.retry_after is None)
