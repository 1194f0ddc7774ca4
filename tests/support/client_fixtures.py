"""A service for clients that run as programs: a plugin of pytest, which the modules that need it name."""

from collections.abc import Iterator

import pytest
from client_programs import NURSERY, Service, serving
from fake_dedalus import FakeDedalus
from process import Nursery


@pytest.fixture(scope="module")
def client_is_loaded(nursery: Nursery) -> None:
    """The nursery has the client, and `process` has the nursery."""
    nursery.load("test_client")
    NURSERY.set(nursery)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeDedalus]:
    with FakeDedalus.in_thread() as fake:
        yield fake


@pytest.fixture(scope="module")
def service(nursery: Nursery, fake: FakeDedalus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(nursery, tmp_path_factory.mktemp("service"), DEDALUS_BASE_URL=fake.url) as service:
        yield service
