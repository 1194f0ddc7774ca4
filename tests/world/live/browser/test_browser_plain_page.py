"""examples/page.html, which needs no build, in Chromium."""

from pathlib import Path

import pytest
from fake_dedalus import FakeDedalus
from file_server import files
from process import Nursery, forked_app
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from tabs import TIMEOUT_S, service
from wire import answer, calling

pytest_plugins = "browser_fixtures"

EXAMPLES = Path(__file__).parents[4] / "examples"


def test_it_streams_an_answer_without_a_key(nursery: Nursery, browser: Chrome) -> None:
    """The page shows the embedded model's answer when the run has ended."""
    with files(EXAMPLES) as pages, forked_app(nursery) as app:
        browser.get(f"{pages}/page.html?service={app.url}")
        browser.find_element(By.TAG_NAME, "button").click()
        wait = WebDriverWait(browser, TIMEOUT_S, 0.05)
        wait.until(lambda b: "succeeded" in b.find_element(By.ID, "status").text)
        assert len(browser.find_element(By.ID, "output").text) > 20


@pytest.mark.parametrize(("button", "result"), [("Approve", "deleted drafts"), ("Deny", "A person denied this call.")])
def test_it_asks_a_person(nursery: Nursery, browser: Chrome, asking: dict[str, str], button: str, result: str) -> None:
    """The page shows the call with two buttons, and sends the decision to the model."""
    with (
        files(EXAMPLES) as pages,
        FakeDedalus.in_thread() as fake,
        service(nursery, pages, fake, **asking) as app,
    ):
        fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        fake.turn(*answer("Well then."))
        browser.get(f"{pages}/page.html?service={app.url}")
        browser.find_element(By.TAG_NAME, "button").click()
        wait = WebDriverWait(browser, TIMEOUT_S, 0.05)
        press = f"//p[@id='approvals']//button[text()='{button}']"
        wait.until(lambda b: b.find_elements(By.XPATH, press))[0].click()
        wait.until(lambda b: "succeeded" in b.find_element(By.ID, "status").text)
        assert browser.find_element(By.ID, "output").text == "Well then."
        assert browser.find_element(By.ID, "approvals").text == ""
        assert fake.chats[1].body["messages"][-1]["content"] == result
