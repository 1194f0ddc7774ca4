"""What an event log promises. Each backend passes the same contract tests."""

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

from events import EventData


class Fenced(Exception):
    """This writer is not, or no longer, the one writer of its run: nothing it puts is kept."""


class LogPosition(NamedTuple):
    """How far a run's log reaches: the number of its last event, and whether that one is `complete`."""

    last_seq: int
    ended: bool


class EventWriter(Protocol):
    """The one writer of a run. It numbers the events 1, 2, 3 …"""

    @property
    def last_seq(self) -> int:
        """The number of the last committed event; 0 before the first commit."""

    def put(self, data: EventData) -> None:
        """Queue an event without waiting. Raise `Fenced` when the run has ended or belongs to another writer."""

    async def commit(self) -> None:
        """Make all that is queued last, then show it to readers.

        Raise `Fenced`, or `errors.LogUnavailable` when the log can't be written.
        """


class EventLog(Protocol):
    """The events of all runs, as the frames that go on the wire."""

    async def create(self, run_id: str) -> EventWriter:
        """The writer of a new run. Raise `Fenced` if the run has had one, `errors.LogUnavailable` if none can be."""

    async def position(self, run_id: str) -> LogPosition:
        """How far the run's log reaches. Raise `errors.RunNotFound` or `errors.RunExpired`."""

    def read(self, run_id: str, after: int) -> AsyncGenerator[bytes, None]:
        """Whole frames from event `after + 1` on: first what there is, in pages, then each commit as it is made.

        Ends cleanly only after `complete`. Raise as `position` does.
        """

    async def check(self) -> None:
        """Raise `errors.LogUnavailable` if a run could not be written now."""

    async def aclose(self) -> None:
        """Let go of what the log holds open."""
