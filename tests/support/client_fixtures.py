"""A service for clients that run as programs: a pytest plugin, named by the modules that need it."""

from collections.abc import Iterator

import pytest
from client_programs import NURSERY, Service, serving
from fake_dedalus import FakeDedalus
from process import Nursery


@pytest.fixture(scope="module")
def client_is_loaded(nursery: Nursery) -> None:
    """Load the client into the nursery, which `process` then uses."""
    nursery.load("test_client")
    NURSERY.set(nursery)


@pytest.fixture(scope="module")
def package_is_loaded(nursery: Nursery) -> None:
    """Load the Python client's package into the nursery, which `process` then uses."""
    nursery.load("agent_stream")
    NURSERY.set(nursery)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeDedalus]:
    with FakeDedalus.in_thread() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def service(nursery: Nursery, upstream: FakeDedalus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(nursery, tmp_path_factory.mktemp("service") / "data", DEDALUS_BASE_URL=upstream.url) as service:
        yield service
