"""Files of an event log, and ways to make them fail."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from process import ROOT

from event_data import StepStarted
from event_logs.file import DAY_S

WEEK_S = 7 * DAY_S
NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())
STEP = StepStarted(step=1, model="m")


def active(directory: Path, run_id: str) -> Path:
    return directory / "active" / f"{run_id}.sse"


def id_at(seconds: float, number: int = 0) -> str:
    """The id of a run that started at that time."""
    return f"run_{int(seconds * 1000):012x}{number:020x}"


def files(directory: Path, like: str = "*") -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob(like) if path.is_file())


def everything_in(directory: Path) -> bytes:
    """All bytes in a directory: those of the event log and of the database."""
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


class Clock:
    """A clock that the test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Run code in a process of its own, which can import the service and the tests' helpers."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests/support'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def limit(what: int, most: int) -> Iterator[None]:
    """Limit a resource of this process to `most`."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def disk_full_at(size: int) -> Any:
    """Limit the size of files, as a full disk does: a write is cut short, or refused."""
    return limit(resource.RLIMIT_FSIZE, size)
