"""A service and its fake upstream that a module's tests share: a pytest plugin, for tests that need no settings."""

from collections.abc import AsyncIterator

import pytest
from fake_dedalus import FakeDedalus
from service import Service, service


@pytest.fixture(scope="module")
async def shared_fake() -> AsyncIterator[FakeDedalus]:
    async with FakeDedalus() as fake:
        yield fake


@pytest.fixture(scope="module")
async def shared(shared_fake: FakeDedalus) -> AsyncIterator[Service]:
    """A service with default settings, whose upstream is `fake`."""
    async with service(shared_fake.url) as agent:
        yield agent


@pytest.fixture
def fake(shared_fake: FakeDedalus) -> FakeDedalus:
    """The upstream of `shared`, without the scripts and requests of the tests before."""
    shared_fake.forget()
    return shared_fake
