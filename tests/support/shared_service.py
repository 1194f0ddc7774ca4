"""Services and their fake upstreams that a module's tests share: a pytest plugin."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from fake_dedalus import FakeDedalus
from lending import Lend, Lender
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


@pytest.fixture(scope="module")
async def lend() -> AsyncIterator[Lend]:
    """Lends a service with the settings of the test, and its upstream.

    A start takes 40 ms of CPU. A service is not lent again after a test that failed or left a run under way. What stays
    from test to test are the ids of runs, keys of idempotency, and what was learnt of the upstream: its list of models,
    and the parameters that it refused. Tests of those start their own.
    """
    async with aclosing(Lender()) as lender:
        yield lender.lend
