"""Each state of the page has a URL: a page that is opened with it shows the same."""

from urllib.parse import parse_qs

import pytest
from fake_dedalus import FakeDedalus
from selenium.webdriver import Keys
from shown_page import ShownPage
from wire import Usage, answer

pytest_plugins = "page_fixtures"

SELECTED = "[role=tab][aria-selected=true]"
ANSWERS = ".contestant-text"


def named(page: ShownPage) -> dict[str, list[str]]:
    """Return the parameters of the page's URL."""
    return parse_qs(page.query().removeprefix("?"))


def asked(page: ShownPage, fake: FakeDedalus) -> None:
    fake.turn(*answer("It is cold.", Usage(100, 4, 104)))
    page.open().ask("How cold is it?")
    page.until_shown("It is cold.", "[role=log]")
    page.control("Send")


@pytest.mark.parametrize(("title", "name"), [("Runs", "runs"), ("Tools", "tools"), ("MCP", "mcp")])
def test_a_list_of_the_sidebar_has_a_url(page: ShownPage, title: str, name: str) -> None:
    """The URL names the list that is shown, and nothing for the chats. A name that no list has shows the chats."""
    page.open().press(title)
    page.until(lambda: named(page) == {"list": [name]})
    page.reload()
    assert page.element(f".sidebar {SELECTED}").text == title
    page.press("Chats")
    page.until(lambda: page.query() == "")
    page.open("?list=other")
    assert page.element(f".sidebar {SELECTED}").text == "Chats"


def test_a_tab_of_the_inspector_has_a_url(page: ShownPage, fake: FakeDedalus) -> None:
    """It stays when the event that the URL names is closed. A name that no tab has shows the default one."""
    asked(page, fake)
    page.press("Code")
    page.until(lambda: named(page)["tab"] == ["code"])
    page.reload()
    assert page.element(f".inspector {SELECTED}").text == "Code"
    page.press("Events")
    page.element(".event-rows .event-row").click()
    page.until(lambda: "seq" in named(page))
    page.press("Close event 1")
    page.until(lambda: named(page)["tab"] == ["events"])
    assert page.element(f".inspector {SELECTED}").text == "Events"
    page.open("?tab=other")
    assert page.element(f".inspector {SELECTED}").text == "Run"


def test_a_replay_has_a_url(page: ShownPage, fake: FakeDedalus) -> None:
    """The URL names the event at which it stands. Closing the replay, or going Back, shows the live chat."""
    asked(page, fake)
    page.press("Replay")
    page.press("Replay this run")
    page.element(".scrubber").send_keys(Keys.HOME, Keys.ARROW_RIGHT * 3)
    page.until(lambda: named(page).get("replay") == ["3"])
    query = page.query()
    page.open(query)
    page.until_shown("event 3 of ", ".replay-bar")
    assert page.texts(".question .bubble") == ["How cold is it?"]
    page.press("Back to chat")
    page.until_shown("It is cold.", "[role=log]")
    assert "replay" not in named(page)
    page.open(query)
    page.until_shown("event 3 of ", ".replay-bar")
    page.press("New chat")
    page.element(".welcome")
    page.browser.back()
    page.until_shown("event 3 of ", ".replay-bar")


def test_a_comparison_has_a_url(page: ShownPage, fake: FakeDedalus) -> None:
    """The URL names the models, and then their runs and the question. Opening it asks nobody again."""
    fake.choose(lambda body: answer(f"I am {body['model']}.", Usage(3, 5, 8)))
    page.open("?compare=test/one&compare=test/two")
    page.control("Model 2: two")
    page.control("Question for both models").send_keys("Who are you?", Keys.ENTER)
    page.until(lambda: page.texts(ANSWERS) == ["I am test/one.", "I am test/two."])
    page.until(lambda: all(run.startswith("run_") for run in named(page)["compare"]))
    asked = len(fake.chats)
    page.open(page.query())
    page.until(lambda: page.texts(ANSWERS) == ["I am test/one.", "I am test/two."])
    page.control("Model 1: one")
    assert page.element("[name=question]").get_property("value") == "Who are you?"
    assert len(fake.chats) == asked
    page.press("Close")
    page.until(lambda: page.query() == "")
    assert not page.has("dialog")
