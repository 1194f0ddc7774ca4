"""A browser that all tests of a worker share: a pytest plugin."""

from collections.abc import Iterator

import pytest
from browser import chromium
from selenium.webdriver import Chrome


@pytest.fixture(scope="session")
def chrome() -> Iterator[Chrome]:
    """The browser of this worker: starting one takes 2 s of CPU."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(chrome: Chrome) -> Iterator[Chrome]:
    """A browser that shows its first tab, with an empty log. The test's own tabs are closed after it."""
    chrome.get_log("browser")  # type: ignore[no-untyped-call]  # forgets the lines of earlier tests
    yield chrome
    first, *others = chrome.window_handles
    for handle in others:
        chrome.switch_to.window(handle)
        chrome.close()
    chrome.switch_to.window(first)
