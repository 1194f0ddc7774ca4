"""The service's own pages, /docs and /redoc, in Chromium."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from process import Nursery, Process, forked_app
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from service import NOWHERE
from tabs import TIMEOUT_S

pytest_plugins = "browser_fixtures"

RESPONSE = (By.CSS_SELECTOR, "#operations-agent-simulate .live-responses-table")


@pytest.fixture(scope="module")
def app(nursery: Nursery) -> Iterator[Process]:
    with forked_app(nursery, DEDALUS_BASE_URL=NOWHERE, DEFAULT_MODEL="m") as app:
        yield app


@pytest.mark.parametrize("scenario", ["approval", "client_tool"])
def test_try_it_out_on_a_run_that_waits(app: Process, browser: Chrome, scenario: str) -> None:
    """The stream ends at `waiting` and shows the run's id, with which the run can be answered or cancelled."""
    browser.get("about:blank")
    browser.get(f"{app.url}/docs#/agent/simulate")
    wait = WebDriverWait(browser, TIMEOUT_S, 0.05)
    simulate = "#operations-agent-simulate"
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, f"{simulate} .try-out__btn"))[0].click()
    body = wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, f"{simulate} textarea.body-param__text"))[0]
    assert '"scenario"' in (body.get_attribute("value") or "")
    body.send_keys(Keys.CONTROL, "a")
    body.send_keys(f'{{"scenario": "{scenario}", "delay_ms": 0}}')
    browser.find_element(By.CSS_SELECTOR, f"{simulate} .btn.execute").click()
    shown = wait.until(lambda b: b.find_elements(*RESPONSE))[0]
    wait.until(lambda _: "x-run-id: run_" in shown.text)
    assert "event: waiting" in shown.text


def test_redoc_asks_no_other_host(app: Process, browser: Chrome) -> None:
    """The page renders, everything on it comes from the service, and the console has no error."""
    browser.get(f"{app.url}/redoc")
    wait = WebDriverWait(browser, TIMEOUT_S, 0.05)
    wait.until(lambda b: "Agent Stream" in b.find_element(By.TAG_NAME, "h1").text)
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "img[alt='redocly logo']"))
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert {urlsplit(url).netloc for url in loaded if not url.startswith("data:")} == {urlsplit(app.url).netloc}
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
