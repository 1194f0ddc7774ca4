"""One server per directory, by a lock that is held for life and goes with the process."""

import fcntl
import os
from pathlib import Path


class DirectoryInUse(Exception):
    """Another server has this directory."""


def locked(directory: Path) -> int:
    """Make the directory, its owner's alone, and lock it until the descriptor is closed.

    Raise `DirectoryInUse` or `OSError`.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise DirectoryInUse(
            f"{directory} is in use by another server: stop that one, or set another DATA_DIR or EVENT_LOG_URL."
        ) from None
    return fd
