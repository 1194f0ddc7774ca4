"""How many files the process may open, and how many runs and connections that is enough for."""

import logging
import resource
import sys

from settings import Settings

logger = logging.getLogger("agent_stream")

RUN = 2  # a run's log, and its connection to a model's server
CONNECTION = 2  # a client's connection, and the log that it reads where it is slow
OTHERS = 128  # the database, MCP servers, tools
READERS = 64  # connections beyond one for each run


def within_descriptors(settings: Settings) -> Settings:
    """The settings with as many runs and connections as the process may open files for.

    The limit is raised as far as they need it and the operating system lets it. What can't be held is logged in a line.
    """
    most = _raised(RUN * settings.max_concurrent_runs + CONNECTION * settings.max_connections + OTHERS)
    room = most - OTHERS
    runs = min(settings.max_concurrent_runs, max(1, (room - READERS) // (RUN + 1)))
    connections = min(settings.max_connections, max(1, room - RUN * runs))
    if runs < settings.max_concurrent_runs:
        logger.warning(
            "MAX_CONCURRENT_RUNS is %d here, not %d: the process may open %d files, see ulimit -n",
            runs,
            settings.max_concurrent_runs,
            most,
        )
    return settings.model_copy(update={"max_concurrent_runs": runs, "max_connections": connections})


def _raised(wanted: int) -> int:
    """How many files the process may open, after the soft limit is raised to what is wanted, or to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    highest = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    raised = max(soft, min(wanted, highest))
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised
