"""What callers may do, as clients and operators write it."""

from enum import StrEnum


class Scope(StrEnum):
    """A permission of a key: to start and change runs and sessions, to read them, or to do everything."""

    RUNS_WRITE = "runs:write"
    RUNS_READ = "runs:read"
    ADMIN = "admin"
