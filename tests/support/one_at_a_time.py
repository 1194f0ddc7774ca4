"""Serialises work that two test processes must not do at once, such as installing the same packages."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Wait until no other process holds the lock of this name."""
    with (Path(tempfile.gettempdir()) / f"agent-stream-{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
