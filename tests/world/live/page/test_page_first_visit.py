"""A first visit to a service without a key: the page says what answers, and its starters work at once."""

from collections.abc import Iterator

import pytest
from process import Nursery, Process, forked_app
from shown_page import ShownPage

pytest_plugins = "page_fixtures"

SIZES = """
const shown = Array.from(document.querySelectorAll(".bar button")).filter((button) => button.checkVisibility());
return shown.map((button) => button.getBoundingClientRect()).map(({ width, height }) => [width, height]);
"""


@pytest.fixture(scope="module")
def app(nursery: Nursery) -> Iterator[Process]:
    """A service without any key, in which the embedded model answers."""
    with forked_app(nursery) as app:
        yield app


def test_the_embedded_model_answers(page: ShownPage) -> None:
    """One line says that no key is needed, and the first starter gets an answer from the model in the service."""
    page.open()
    page.until_shown("No API key needed: a small built-in model answers.")
    page.press("Ask a question Why is the sky blue?")
    page.until(lambda: len("".join(page.texts("[role=log] .answer"))) > 20)


def test_a_phone_has_a_heading_and_large_buttons(page: ShownPage) -> None:
    """The heading is in sight and says what the page is. Each button above is at least 40 pixels wide and high."""
    page.size(390, 700).open()
    page.until_shown("Use a real model")
    page.until_shown("Ask an agent and watch every step of its answer.", "h2")
    sizes = page.browser.execute_script(SIZES)
    assert len(sizes) >= 5
    assert min(min(size) for size in sizes) >= 40
    assert page.browser.execute_script("return document.querySelector('.bar').scrollWidth") <= 390
    assert page.browser.execute_script("return document.querySelector('.scroller').scrollTop") == 0


def test_a_starter_calls_a_tool(page: ShownPage) -> None:
    """A script calls the calculator. The page shows the call, and names the script that has answered."""
    page.open()
    page.press("Watch a tool call A scripted run calls the calculator. No model involved.")
    page.until_shown("The tool returned: 471.2", "[role=log]")
    page.until_shown("calculate", "[role=log]")
    page.until_shown("script simulated/tools", "[role=log] .facts")
    assert page.texts(".question .bubble") == ["What is 19 % of 2,480?"]
    page.until_shown("Next: ", ".bar [title=Model]")


def test_a_starter_waits_for_approval_even_over_a_reload(page: ShownPage) -> None:
    """The call waits in the dock, also after a reload, and is made when it is approved."""
    page.open()
    page.press("Approve a call The run pauses until you decide, even if you reload.")
    page.control("Approve")
    page.reload()
    page.press("Approve")
    page.until_shown("The tool returned:", "[role=log]")


def test_the_card_shows_the_line_for_a_real_model(page: ShownPage) -> None:
    """Each provider's line can be copied into `.env`."""
    page.open()
    page.press("OpenAI")
    page.until_shown("OPENAI_API_KEY=your-key", ".real-model")
    page.press("Ollama")
    page.until_shown("DEDALUS_BASE_URL=http://localhost:11434", ".real-model")
