"""A long answer is drawn in short tasks, so the page can be used while it streams."""

import random
from collections.abc import Iterator

import pytest
from browser import chromium
from fake_dedalus import FakeDedalus
from page_tasks import tasks_of
from selenium.webdriver import Chrome
from shown_page import ShownPage
from wire import Done, Finish, Pause, Step, Text

pytest_plugins = "page_fixtures"

LONGEST_MS = 50
TOKENS = 10_000
CHARACTERS = 4  # of a token
AT_ONCE = 40
COLOURED = "return [...document.querySelectorAll('.piece')].at(-1).querySelector('.hljs-keyword') !== null"
PHRASES = (
    "The quick *brown* fox",
    "jumps over **the** lazy dog",
    "with `code` and",
    "[a link](https://example.org/x)",
    "plain words that go on",
)


@pytest.fixture
def browser() -> Iterator[Chrome]:
    """A browser of the test's own: memory that other tests leave behind is collected during tasks of its pages, too."""
    with chromium() as browser:
        yield browser


def paragraph(chance: random.Random) -> str:
    return " ".join(chance.choices(PHRASES, k=30))


def items(chance: random.Random) -> str:
    return "\n".join(f"- item {number} with *some* `text` in it" for number in range(chance.randint(3, 60)))


def table(chance: random.Random) -> str:
    rows = (f"| row {number} | **{number}** | `x` | some text |\n" for number in range(chance.randint(3, 80)))
    return "| a | b | c | d |\n|---|--:|---|---|\n" + "".join(rows)


def code(chance: random.Random) -> str:
    function = 'def function_{0}(a, b=2):\n    """Doc string."""\n    return a + b * {0}  # comment\n\n'
    return "```python\n" + "".join(function.format(number) for number in range(chance.randint(3, 60))) + "```"


def long_answer() -> str:
    """Markdown of 10,000 tokens: paragraphs, lists, and tables and code that are longer than a screen."""
    chance = random.Random(11)
    blocks: list[str] = []
    while sum(map(len, blocks)) < TOKENS * CHARACTERS:
        blocks += [f"## Part {len(blocks)}", chance.choice((paragraph, items, table, code))(chance)]
    return "\n\n".join(blocks)


def streamed(text: str) -> list[Step]:
    """A model's turn that writes the text token by token, 2,000 tokens in a second."""
    tokens = [text[start : start + CHARACTERS] for start in range(0, len(text), CHARACTERS)]
    reads = [Text(*tokens[start : start + AT_ONCE]) for start in range(0, len(tokens), AT_ONCE)]
    return [*(step for read in reads for step in (read, Pause(0.02))), Text("\n\nThe end."), Finish("stop"), Done()]


def test_no_task_is_long_while_a_long_answer_streams(page: ShownPage, fake: FakeDedalus) -> None:
    """No task takes more than 50 ms, neither while 10,000 tokens arrive nor when they are shown again."""
    fake.turn(*streamed(long_answer()))
    page.open()
    with tasks_of(page.browser) as streaming:
        page.ask("Write a lot")
        until_drawn(page)
    with tasks_of(page.browser) as reloading:
        page.reload()
        until_drawn(page)
    assert len(streaming) > 1000
    assert max(streaming) < LONGEST_MS
    assert len(reloading) > 100
    assert max(reloading) < LONGEST_MS


def until_drawn(page: ShownPage) -> None:
    """Wait until the whole answer is shown, and the last code in it has its colours."""
    page.until_shown("The end.", ".markdown > :last-child")
    page.until(lambda: page.browser.execute_script(COLOURED))
