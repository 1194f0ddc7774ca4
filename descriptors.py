"""Raises the process's limit of open files, and fits the limits of runs and connections to it."""

import logging
import resource
import sys

from settings import Settings

logger = logging.getLogger("agent_stream")

RUN = 2  # the file of its events, and its connection to a model server
CONNECTION = 2  # its socket, and the file of events that a slow client reads
OTHERS = 128  # the database, MCP servers, tools
READERS = 64  # connections in addition to one for each run


def within_descriptors(settings: Settings) -> Settings:
    """Return the settings with as many runs and connections as the process can open files for.

    Raise the soft limit of open files as far as needed and permitted. Log a warning if fewer runs fit.
    """
    most = _raised(RUN * settings.max_concurrent_runs + CONNECTION * settings.max_connections + OTHERS)
    room = most - OTHERS
    runs = min(settings.max_concurrent_runs, max(1, (room - READERS) // (RUN + 1)))
    connections = min(settings.max_connections, max(1, room - RUN * runs))
    if runs < settings.max_concurrent_runs:
        logger.warning(
            "MAX_CONCURRENT_RUNS is reduced to %d from %d, because the process can open only %d files (see ulimit -n)",
            runs,
            settings.max_concurrent_runs,
            most,
        )
    return settings.model_copy(update={"max_concurrent_runs": runs, "max_connections": connections})


def _raised(wanted: int) -> int:
    """Raise the soft limit of open files to `wanted`, at most to the hard limit. Return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    highest = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    raised = max(soft, min(wanted, highest))
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised
