"""Locks a directory for one server. The operating system releases the lock when the process ends, however it ends."""

import fcntl
import os
from pathlib import Path


class DirectoryInUse(Exception):
    """Raised if another server uses the directory."""


def locked(directory: Path) -> int:
    """Create the directory, readable by its owner only, and lock it until the returned descriptor is closed.

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
