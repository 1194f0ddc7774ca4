"""What the tests of crashes share."""

from collections.abc import Iterator

import pytest

from chaos.server import Nursery, nursery


@pytest.fixture(scope="session", name="nursery")
def one_nursery() -> Iterator[Nursery]:
    """One for all, since it is what takes long to start."""
    with nursery() as made:
        yield made
