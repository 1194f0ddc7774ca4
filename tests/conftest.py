"""What all tests share."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from process import Nursery, opened_nursery
from service import NOWHERE, Service, service

from settings import Settings


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests marked `anyio` run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Starts services fast; it is started itself when the first test wants it."""
    with opened_nursery() as made:
        yield made


@pytest.fixture(scope="module")
async def agent() -> AsyncIterator[Service]:
    """A service without an upstream, which a module's tests share where they leave nothing behind in it."""
    async with service(NOWHERE) as agent:
        yield agent


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key or setting of the machine's environment reaches a test."""
    for name in {field.upper() for field in Settings.model_fields} & os.environ.keys():
        monkeypatch.delenv(name)


SLOWEST = ("test_docs", "test_typescript", "test_process", "test_store_failures", "test_chaos", "test_test_client")


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: many tests wait for other processes half of their time."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files first, so that in the end no worker is left alone with one of them."""
    items.sort(key=lambda item: item.path.stem not in SLOWEST)
