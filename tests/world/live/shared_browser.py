"""A browser that all tests of a worker share: a pytest plugin."""

from collections.abc import Iterator

import pytest
from browser import chromium, empty
from selenium.webdriver import Chrome


@pytest.fixture(scope="session")
def chrome() -> Iterator[Chrome]:
    """The browser of this worker: starting one takes 2 s of CPU."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(chrome: Chrome) -> Iterator[Chrome]:
    """A browser with one empty tab. After the test, its tabs, storage and history are removed."""
    yield chrome
    empty(chrome)
