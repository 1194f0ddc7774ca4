"""A question and its answer in the page's URL and state."""

from fake_dedalus import FakeDedalus
from shown_page import ShownPage
from wire import answer

pytest_plugins = "page_fixtures"


def test_the_first_question_puts_its_session_into_the_url(page: ShownPage, fake: FakeDedalus) -> None:
    """A new chat has no session in its URL, and gets one with its first question. A reload shows the same chat."""
    fake.turn(*answer("It is cold."))
    draft = page.open().state()["draft"]
    assert page.query() == ""
    page.ask("Is it cold?")
    page.until_shown("It is cold.", "[role=log]")
    assert page.query() == f"?session={draft}"
    page.reload()
    page.until_shown("It is cold.", "[role=log]")
    assert page.console() == []
