"""The browser's Back and Forward: each URL shows its chat, and `/` is a new one."""

from collections.abc import Callable

import pytest
from fake_dedalus import FakeDedalus
from selenium.webdriver import Keys
from shown_page import ShownPage
from wire import Done, Finish, Gate, Text, WaitFor, answer

pytest_plugins = "page_fixtures"

SIDEBAR = ".sidebar"
ANSWERS = "[role=log] .answer"
QUESTIONS = "[role=log] .question .bubble"


def back(page: ShownPage) -> None:
    _travel(page, page.browser.back)


def forward(page: ShownPage) -> None:
    _travel(page, page.browser.forward)


def _travel(page: ShownPage, travel: Callable[[], None]) -> None:
    before = page.query()
    travel()
    page.until(lambda: page.query() != before)


def until_new(page: ShownPage) -> None:
    """Return once the page shows an empty new chat."""
    page.until(lambda: page.query() == "" and not page.texts(f"{ANSWERS}, {QUESTIONS}"))
    page.element(".welcome")


def until_closed(page: ShownPage, drawer: str) -> None:
    """Return once a drawer is closed and the page has left its entry of the history."""
    page.until(lambda: not page.has(drawer) and not page.browser.execute_script("return history.state?.drawer"))


def ask(page: ShownPage, fake: FakeDedalus, question: str, said: str) -> str:
    """Ask, and return the query string of the session once its answer is shown."""
    fake.turn(*answer(said))
    page.ask(question)
    page.until_shown(said, ANSWERS)
    return page.query()


def test_back_to_the_start_is_a_new_chat(page: ShownPage, fake: FakeDedalus) -> None:
    """After Back from the first chat, the next question begins another session. Both stay in the history."""
    page.open()
    first = ask(page, fake, "One?", "First.")
    back(page)
    until_new(page)
    second = ask(page, fake, "Two?", "Second.")
    assert second not in ("", first)
    assert [message["content"] for message in fake.chats[-1].body["messages"]] == ["Two?"]
    page.reload()
    page.until_shown("Second.", ANSWERS)
    assert page.texts(QUESTIONS) == ["Two?"]
    back(page)
    until_new(page)


def test_each_url_shows_its_chat_while_it_streams(page: ShownPage, fake: FakeDedalus) -> None:
    """Two chats, one of them under way: Back and Forward show each of them and the empty chats between them."""
    gate = Gate()
    page.open()
    first = ask(page, fake, "Short?", "Done.")
    page.press("New chat")
    until_new(page)
    fake.turn(Text("one "), WaitFor(gate), Text("two"), Finish("stop"), Done())
    page.ask("Long?")
    page.until_shown("one", ANSWERS)
    second = page.query()
    back(page)
    until_new(page)
    back(page)
    assert page.query() == first
    page.until_shown("Done.", ANSWERS)
    back(page)
    until_new(page)
    forward(page)
    page.until_shown("Done.", ANSWERS)
    forward(page)
    until_new(page)
    forward(page)
    assert page.query() == second
    page.until_shown("one", ANSWERS)
    assert page.texts(QUESTIONS) == ["Long?"]
    gate.open()
    page.until_shown("one two", ANSWERS)
    assert page.console() == []


def test_back_closes_a_drawer(page: ShownPage, fake: FakeDedalus) -> None:
    """In a narrow window Back closes an open drawer and stays at the chat. After a key has closed it, Back leaves."""
    page.size(390, 844).open()
    chat = ask(page, fake, "One?", "First.")
    page.press("Open sidebar")
    page.element(SIDEBAR)
    page.browser.back()
    page.until(lambda: not page.has(SIDEBAR))
    assert page.query() == chat
    page.press("Open sidebar")
    page.element(SIDEBAR)
    page.keys(Keys.ESCAPE)
    until_closed(page, SIDEBAR)
    back(page)
    until_new(page)


def test_a_drawer_gives_its_entry_to_what_is_opened_in_it(page: ShownPage, fake: FakeDedalus) -> None:
    """A chat that is opened in the drawer is one step from the former one. Its drawer is in no step between them."""
    page.size(390, 844).open()
    first = ask(page, fake, "One?", "First.")
    page.press("Open sidebar")
    page.press("New chat")
    until_new(page)
    back(page)
    assert page.query() == first
    page.until_shown("First.", ANSWERS)
    assert not page.has(SIDEBAR)


def test_an_event_stays_selected_after_its_drawer(page: ShownPage, fake: FakeDedalus) -> None:
    """The URL keeps the event that was selected in the inspector's drawer. A reload opens the drawer again."""
    page.size(390, 844).open()
    ask(page, fake, "One?", "First.")
    page.press("Inspector")
    page.press("Events")
    page.element("#event-2").click()
    page.until(lambda: page.query().endswith("&seq=2"))
    selected = page.query()
    page.reload()
    page.press("Close inspector")
    until_closed(page, ".inspector")
    assert page.query() == selected


@pytest.mark.parametrize(
    ("query", "drawer"),
    [
        ("?list=runs", SIDEBAR),
        ("?tab=code", ".inspector"),
        ("?seq=2", ".inspector"),
        ("?list=mcp&tab=code", ".inspector"),
    ],
)
def test_a_url_opens_its_drawer(page: ShownPage, query: str, drawer: str) -> None:
    """In a narrow window, the drawer with what a URL names is open. After Back and a reload, it is closed."""
    page.size(390, 844).open(query)
    page.element(f"{drawer}.is-open")
    page.browser.back()
    page.until(lambda: not page.has(drawer))
    assert page.query() == query
    page.reload()
    page.element(".welcome")
    assert not page.has(drawer)


@pytest.mark.parametrize("width", [1440, 390])
def test_back_brings_a_closed_comparison_back(page: ShownPage, fake: FakeDedalus, width: int) -> None:
    """Back closes an open comparison. One that has asked is there again after Back, any other leaves no trace."""
    fake.choose(lambda body: answer(f"I am {body['model']}."))
    page.size(width).open()
    chat = ask(page, fake, "One?", "I am")
    for _ in range(2):
        if width < 700:
            page.press("Inspector")
        page.press("Compare two models…")
        page.element("dialog[open]")
        page.keys(Keys.ESCAPE)
        page.until(lambda: page.query() == chat)
        page.until(lambda: not page.has("dialog, .inspector.is-open"))
    back(page)
    until_new(page)
    forward(page)
    page.until_shown("I am", ANSWERS)
    page.browser.get(f"{page.url}/{chat}&compare=test/one&compare=test/two")
    page.control("Model 2: two")
    page.control("Question for both models").send_keys("Who are you?", Keys.ENTER)
    page.until(lambda: page.texts(".contestant-text") == ["I am test/one.", "I am test/two."])
    page.press("Close")
    page.until(lambda: page.query() == chat)
    back(page)
    page.until(lambda: page.texts(".contestant-text") == ["I am test/one.", "I am test/two."])
    forward(page)
    page.until(lambda: not page.has("dialog"))
