"""Defines the interface of an event log. Every backend passes the same contract tests."""

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

from errors import RunExpired, RunNotFound
from event_data import EventData


class Fenced(Exception):
    """Raised for a writer that isn't, or is no longer, the only writer of its run. Its events are refused."""


class LogPosition(NamedTuple):
    """The number of a run's last committed event, and whether that event is `complete`."""

    last_seq: int
    ended: bool


class EventWriter(Protocol):
    """The only writer of a run. It numbers the events 1, 2, 3 …"""

    @property
    def last_seq(self) -> int:
        """The number of the last committed event, or 0 before the first commit."""

    def put(self, data: EventData) -> None:
        """Queue an event without waiting. Raise `Fenced` if the run has ended or has another writer."""

    async def commit(self) -> None:
        """Store the queued events durably, then show them to readers.

        Raise `Fenced`, or `errors.LogUnavailable` if the log can't be written. In the second case the events stay
        queued for the next commit, in their order and with their numbers, and the run's readers get `LogUnavailable`.
        """

    async def aclose(self) -> None:
        """Close the writer's file, if it has one. Nothing can be committed afterwards: use `take_over` to continue."""


class EventLog(Protocol):
    """The events of all runs, stored as the frames that are sent to clients."""

    async def create(self, run_id: str) -> EventWriter:
        """Return the writer of a new run. Raise `Fenced` if the run exists, or `errors.LogUnavailable`."""

    async def take_over(self, run_id: str) -> EventWriter:
        """Return a new writer for an existing run, and fence the former one.

        It numbers on from the last committed event. Events that the former writer had only queued are lost. Raise
        `Fenced` if the run has ended, `errors.LogUnavailable`, or as `position` does.
        """

    async def unarchived(self) -> Sequence[str]:
        """Return the runs that are not archived yet, including those that have ended."""

    async def archive(self, run_id: str) -> None:
        """Mark a finished run as fully recorded, so that retention may delete it. Idempotent.

        Raise `errors.LogUnavailable`, or as `position` does.
        """

    async def expire(self) -> None:
        """Delete archived runs that are past their retention."""

    async def delete(self, run_id: str) -> None:
        """Delete a run that has ended or has no event yet. Its id is unknown afterwards. Raise as `archive` does."""

    async def position(self, run_id: str) -> LogPosition:
        """Return the run's position. Raise `errors.RunNotFound` or `errors.RunExpired`."""

    def missing(self, run_id: str) -> RunNotFound | RunExpired:
        """Return what `position` raises for a run that nobody has started, as far as the id has a time."""

    def read(self, run_id: str, after: int, *, follow: bool = True) -> AsyncGenerator[bytes, None]:
        """Yield the frames from event `after + 1` on in pages: first those that are stored, then each new commit.

        A page has at most 32 KiB and consists of whole frames. A longer frame is split over several pages, in which
        there is no other frame. So a page that ends with a blank line ends a frame. The generator ends after
        `complete`, or with `follow=False` at the last committed event. Raise as `position` does, and
        `errors.LogUnavailable` after a failed commit.
        """

    async def check(self) -> None:
        """Raise `errors.LogUnavailable` if events can't be written now."""

    async def aclose(self) -> None:
        """Close everything that the log holds open."""
