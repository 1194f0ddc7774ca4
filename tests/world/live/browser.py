"""Headless Chromium from Debian: the test installs it where it can, and otherwise says how to."""

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
        for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *QUIET):
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={profile}")
        browser = Chrome(options, Service(driver))
        try:
            yield browser
        finally:
            browser.quit()
