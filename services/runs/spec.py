"""Describes a run before it begins: its record, its work, its limits and the runs that it waits for."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from run_models import Run
from services.runs.suspension import Resumption, Suspension
from services.runs.writer import RunWriter
from settings import Settings


class Work(Protocol):
    """The work of an agent in one run: writes the run's events, up to the end of the answer or to a wait."""

    async def begin(self, writer: RunWriter) -> Suspension | None:
        """Write the run's events. Return a `Suspension` if it has to wait. Raise the error that it fails with."""

    async def resume(self, resumption: Resumption, writer: RunWriter) -> Suspension | None:
        """Continue after a wait. Return and raise as `begin` does."""


class EarlierRun(Protocol):
    """A run that others of its session are queued behind, as a `RunTask` is."""

    ended: asyncio.Future[None]

    @property
    def is_waiting(self) -> bool:
        """Whether the run waits for a person or the caller's page."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """The data that a run needs to begin. `run` is its record before it begins; times are in seconds.

    The run begins when all runs in `behind` have ended. These were under way in its session.
    """

    run: Run
    work: Work
    request_id: str
    timeout_s: float
    grace_s: float
    wait_s: float
    behind: Sequence[EarlierRun] = ()

    @classmethod
    def within(
        cls, settings: Settings, run: Run, work: Work, request_id: str, behind: Sequence[EarlierRun] = ()
    ) -> "RunSpec":
        """Return a specification with the operator's limits."""
        limits = settings.run_timeout_s, settings.disconnect_grace_s, settings.approval_timeout_s
        return cls(run, work, request_id, *limits, behind)
