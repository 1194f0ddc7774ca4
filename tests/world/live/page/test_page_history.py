"""The browser's Back and Forward: each URL shows its chat, and `/` is a new one."""

from collections.abc import Callable

from fake_dedalus import FakeDedalus
from shown_page import ShownPage
from wire import Done, Finish, Gate, Text, WaitFor, answer

pytest_plugins = "page_fixtures"

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
