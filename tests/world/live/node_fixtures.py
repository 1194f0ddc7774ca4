"""Node, with the packages of `clients/typescript`: a pytest plugin, which the modules that need it name."""

from pathlib import Path

import pytest
from node import TYPESCRIPT, executable, install


@pytest.fixture(scope="session")
def node() -> Path:
    """Node, with the packages of `clients/typescript` installed."""
    install(TYPESCRIPT)
    return executable()
