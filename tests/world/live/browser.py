"""Headless Chromium from Debian: the test installs it where it can, and otherwise says how to."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from one_at_a_time import one_at_a_time
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

INSTALL = "apt-get install -y --no-install-recommends chromium chromium-driver"
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
FRUGAL = (
    "--process-per-site",
    "--disable-features=SpareRendererForSitePerProcess",
    "--disable-extensions",
    "--disable-breakpad",
    "--mute-audio",
)
"""One process for all pages of a site: to open a page in a process of its own takes 0.4 s of CPU more."""
EMPTY = "about:blank"
RESETS: dict[str, dict[str, Any]] = {
    "Emulation.clearDeviceMetricsOverride": {},
    "Emulation.setEmulatedMedia": {"media": "", "features": []},
    "Network.disable": {},
    "Page.resetNavigationHistory": {},
}
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


def open_tab(browser: Chrome) -> None:
    """Show an empty tab: the present one if it is empty, or else a new one, whose first page takes twice the CPU."""
    if browser.current_url != EMPTY:
        browser.switch_to.new_window("tab")


def empty(browser: Chrome) -> None:
    """Leave the browser as its next user expects it: with one tab, which is empty and has no settings or history."""
    first, *others = browser.window_handles
    for handle in others:
        browser.switch_to.window(handle)
        browser.close()
    browser.switch_to.window(first)
    browser.execute_script("if (origin !== 'null') sessionStorage.clear()")
    browser.get(EMPTY)
    for command, arguments in RESETS.items():
        browser.execute_cdp_cmd(command, arguments)
    browser.get_log("browser")  # type: ignore[no-untyped-call]  # forgets the lines so far
