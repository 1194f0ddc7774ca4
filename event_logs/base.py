"""What an event log promises. Each backend passes the same contract tests."""

from collections.abc import AsyncGenerator, Sequence
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

        Raise `Fenced`, or `errors.LogUnavailable` when the log can't be written: then what was queued stays queued, in
        its order and with its numbers, for the next commit, and the run's readers are told that they can't go on.
        """

    async def aclose(self) -> None:
        """Let go of what the writer holds open. Commit nothing after that: to go on, the run is taken over."""


class EventLog(Protocol):
    """The events of all runs, as the frames that go on the wire."""

    async def create(self, run_id: str) -> EventWriter:
        """The writer of a new run. Raise `Fenced` if the run has had one, `errors.LogUnavailable` if none can be."""

    async def take_over(self, run_id: str) -> EventWriter:
        """The writer that goes on with a run whose former one is gone, and is fenced from now on.

        Its numbers follow the last committed event; what the former one had only queued is lost. Raise `Fenced` where
        the run has ended, `errors.LogUnavailable`, or as `position` does.
        """

    async def unarchived(self) -> Sequence[str]:
        """The runs that are not archived yet, those that have ended included."""

    async def archive(self, run_id: str) -> None:
        """All that has to know of the run's end knows it: from now on retention may take it. Idempotent.

        Raise `errors.LogUnavailable`, or as `position` does.
        """

    async def expire(self) -> None:
        """Let go of archived runs past their retention."""

    async def delete(self, run_id: str) -> None:
        """Let go of a run that has ended, or has no event yet, as if it had never been. Raise as `archive` does."""

    async def position(self, run_id: str) -> LogPosition:
        """How far the run's log reaches. Raise `errors.RunNotFound` or `errors.RunExpired`."""

    def read(self, run_id: str, after: int, *, follow: bool = True) -> AsyncGenerator[bytes, None]:
        """Frames from event `after + 1` on: first what there is, in pages, then each commit as it is made.

        A page holds 32 KiB at most and whole frames, but for a longer frame, which comes alone in several pages: a page
        that ends with a blank line ends a frame. Ends after `complete`; with `follow=False`, at what is committed by
        then. Raise as `position` does, and `errors.LogUnavailable` where a commit has failed.
        """

    async def check(self) -> None:
        """Raise `errors.LogUnavailable` if a run could not be written now."""

    async def aclose(self) -> None:
        """Let go of what the log holds open."""
