"""An event log of each backend: a pytest plugin, named by the modules that need it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from log_backends import (
    BACKENDS,
    Backend,
    scratch,
)

from event_logs.base import EventLog


@pytest.fixture(params=BACKENDS, ids=lambda kind: kind.__name__.lower())
def kind(request: pytest.FixtureRequest) -> type[Backend]:
    chosen: type[Backend] = request.param
    return chosen


@pytest.fixture
def backend(kind: type[Backend], tmp_path: Path) -> Iterator[Backend]:
    with scratch(kind, tmp_path) as directory:
        yield kind(Path(directory))


@pytest.fixture
async def log(backend: Backend) -> AsyncIterator[EventLog]:
    async with aclosing(backend.open()) as opened:
        yield opened
