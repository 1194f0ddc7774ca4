"""Headless Chromium from Debian, and a pytest plugin with a browser that all tests of a worker share.

The test installs Chromium where it can, and otherwise says how to.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from one_at_a_time import one_at_a_time
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

INSTALL = "apt-get install -y --no-install-recommends chromium chromium-driver"
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
FRUGAL = ("--process-per-site", "--disable-extensions", "--disable-breakpad", "--mute-audio")
"""One process for all pages of a site: to open a page in a process of its own takes 0.4 s of CPU more."""
NAMES = "--enable-blink-features=ComputedAccessibilityInfo"  # elements have their accessible name: `computedName`


def _driver() -> str:
    with one_at_a_time("chromium"):
        if (found := shutil.which("chromedriver")) is None and os.geteuid() == 0 and shutil.which("apt-get"):
            subprocess.run("apt-get update -qq && " + INSTALL + " -qq", shell=True, check=False, capture_output=True)
            found = shutil.which("chromedriver")
    if found is None:
        message = f"this test needs Chromium: {INSTALL}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def chromium() -> Iterator[Chrome]:
    """A browser with a profile of its own, which makes no requests but those of the pages that it opens."""
    driver = _driver()
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *QUIET, *FRUGAL, NAMES):
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={profile}")
        browser = Chrome(options, Service(driver))
        try:
            yield browser
        finally:
            browser.quit()


@pytest.fixture(scope="session")
def chrome() -> Iterator[Chrome]:
    """The browser of this worker: starting one takes 2 s of CPU."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(chrome: Chrome) -> Iterator[Chrome]:
    """A browser that shows its first, empty tab. The test's own tabs are closed after it."""
    yield chrome
    first, *others = chrome.window_handles
    for handle in others:
        chrome.switch_to.window(handle)
        chrome.close()
    chrome.switch_to.window(first)
