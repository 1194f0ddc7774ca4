"""An outage: what people do meanwhile is neither lost nor shown as done before the service has confirmed it."""

from collections.abc import Iterator
from contextlib import contextmanager

from fake_dedalus import FakeDedalus
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By
from shown_page import ShownPage
from wire import Gate, Text, WaitFor, answer

pytest_plugins = "page_fixtures"

ANSWERS = "[role=log] .answer"
QUESTIONS = "[role=log] .question .bubble"


@contextmanager
def outage(page: ShownPage) -> Iterator[None]:
    """The browser has no network for a while."""
    _network(page, offline=True)
    try:
        yield
    finally:
        _network(page, offline=False)


def _network(page: ShownPage, *, offline: bool) -> None:
    conditions = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.browser.execute_cdp_cmd("Network.enable", {})
    page.browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)


def show_chat(page: ShownPage, title: str) -> None:
    """Show a chat by its link in the sidebar."""
    page.follow(title)
    page.until(lambda: page.query() != "")


def test_a_question_of_an_outage_is_asked_once(page: ShownPage, fake: FakeDedalus) -> None:
    """Neither another chat in between nor the way back loses it, and an earlier chat is loaded as soon as it can be."""
    fake.turn(*answer("First."))
    page.open().ask("Rain?")
    page.until_shown("First.", ANSWERS)
    page.until_shown("Rain?", ".sidebar")
    page.press("New chat")
    asked = len(fake.chats)
    fake.turn(*answer("Second."))
    with outage(page):
        show_chat(page, "Rain?")
        page.until_shown("Couldn't load this chat.", "[role=log]")
        assert "deleted" not in page.text()
        page.ask("Snow?")
        page.until_shown("No response", ".connection")
        page.press("New chat")
        page.until(lambda: page.query() == "")
        assert page.element("#question").get_property("value") == ""
        show_chat(page, "Rain?")
        page.until_shown("Snow?", QUESTIONS)
    page.until_shown("Second.", ANSWERS)
    page.until(lambda: page.texts(QUESTIONS) == ["Rain?", "Snow?"])
    assert len(fake.chats) == asked + 1


def test_the_question_of_a_new_chat_arrives_while_another_one_is_shown(page: ShownPage, fake: FakeDedalus) -> None:
    """The sidebar lists no chat before its first question has arrived, so the page sends it whatever it shows."""
    fake.turn(*answer("Third."))
    page.open()
    with outage(page):
        page.ask("Fog?")
        page.until_shown("No response", ".connection")
        page.press("New chat")
        page.until(lambda: page.query() == "")
    show_chat(page, "Fog?")
    page.until_shown("Third.", ANSWERS)
    assert page.texts(QUESTIONS) == ["Fog?"]


def test_a_title_of_an_outage_stays_in_its_field(page: ShownPage, fake: FakeDedalus) -> None:
    """A new title that can't be saved is not lost: it is saved when it is sent again."""
    fake.turn(*answer("Fourth."))
    page.open().ask("Hail?")
    page.until_shown("Fourth.", ANSWERS)
    page.press("Rename Hail?")
    with outage(page):
        page.keys("Hailstones", Keys.ENTER)
        page.until_shown("Can't reach the service.", ".rename")
        assert page.element(".rename input").get_property("value") == "Hailstones"
    page.focus(".rename input")
    page.keys(Keys.ENTER)
    page.until_shown("Hailstones", ".sidebar a")


def test_a_run_that_is_stopped_in_an_outage_stays_stopped(page: ShownPage, fake: FakeDedalus) -> None:
    """The page says that it stops the run, then that it could not, and at last that the service has."""
    gate = Gate()
    fake.turn(Text("one"), WaitFor(gate))
    page.open().ask("Count")
    page.until_shown("one", ANSWERS)
    with outage(page):
        page.press("Stop")
        page.until_shown("Stopping", ".connection")
        assert "Stopped." not in page.text()
        page.until_shown("so the run may still be going", f"{ANSWERS} .failure")
        page.press("Stop again")
    page.until_shown("Stopped.", ANSWERS)
    assert not page.has(".failure")
    page.until(lambda: not page.browser.find_elements(By.CSS_SELECTOR, ".connection"))
    page.reload()
    page.until_shown("Stopped.", ANSWERS)
    gate.open()
