"""The tasks of runs in a service that runs in the test's process."""

import asyncio
from collections.abc import Callable

from service import Service

from services.runs.task import RunTask


def task_of(agent: Service, run_id: str) -> RunTask:
    task: RunTask | None = agent.app.state.live.get(run_id)
    assert task is not None
    return task


async def when(condition: Callable[[], bool]) -> None:
    """Return once the condition holds."""
    while not condition():  # noqa: ASYNC110 - no event announces it
        await asyncio.sleep(0)
