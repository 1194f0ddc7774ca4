"""Numbers that JavaScript can't hold, on the page: a person sees and approves the digits that the call is made with."""

from collections.abc import Iterator

import pytest
from fake_dedalus import FakeDedalus
from process import Nursery, Process, forked_app
from selenium.webdriver import Keys
from shown_page import ShownPage
from wire import Done, Finish, ToolCall, answer

pytest_plugins = "page_fixtures"

DOCK, BRIEF, STATE, STRUCTURED = ".dock", ".tool .brief", ".tool .state", ".structured"
TOOLS = '''
from typing import Any

from tools import tool


@tool(approval=True)
def pay(account: int, share: Any) -> str:
    """Pay into an account."""
    return f"paid {account} {share}"
'''


@pytest.fixture(scope="module")
def app(nursery: Nursery, shared_fake: FakeDedalus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service with a tool that takes a whole number, and waits for a person."""
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "number_test_tools.py").write_text(TOOLS)
    found = {"AGENT_TOOLS": "number_test_tools", "PYTHONPATH": str(folder)}
    with forked_app(nursery, DEDALUS_BASE_URL=shared_fake.url, DEFAULT_MODEL="test/model", **found) as app:
        yield app


def test_a_person_approves_the_digits_that_are_shown(page: ShownPage, fake: FakeDedalus) -> None:
    """The dock, the cards and the events show each digit; edited digits are sent; a reload shows what was decided."""
    written = ['{"account":9007199254740993,"share":1.0}', '{"account":12345678901234567890123,"share":2}']
    calls = [ToolCall(f"call_{place}", "pay", text, index=place) for place, text in enumerate(written)]
    fake.turn(*calls, Finish("tool_calls"), Done())
    fake.turn(*answer("Done."))
    page.open().choose(tools=["pay"])
    page.ask("Pay them")
    page.until(lambda: page.texts(BRIEF) == written)
    field = page.element(f"{DOCK} textarea")
    assert field.get_property("value") == '{\n  "account": 9007199254740993,\n  "share": 1.0\n}'
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys('{"account": 9007199254740995, "share": 1.0}')
    page.press("Approve with changes")
    page.until(lambda: len(page.texts(f"{DOCK} .approval")) == 1)
    page.press("Deny")
    page.until_shown("Done.", ".answer")
    assert fake.chats[-1].body["messages"][-2]["content"].endswith("\npaid 9007199254740995 1.0")
    shown = ['{"account":9007199254740995,"share":1.0}', written[1]]
    assert page.texts(BRIEF) == shown
    assert page.texts(STATE)[1] == "denied"
    page.reload()
    page.until(lambda: page.texts(BRIEF) == shown)
    assert page.texts(STATE)[1] == "denied"
    page.element(".tool summary").click()
    page.until_shown('"account": 9007199254740995,', ".tool-details")
    page.until_shown("Approved with these arguments.", ".tool-details")


def test_a_structured_answer_is_a_tree_of_its_value(page: ShownPage, fake: FakeDedalus) -> None:
    """Each digit is in the tree and in the JSON, a second attempt is named, and the text around it is left out.

    It is the same after a reload.
    """
    fake.turn(*answer("I don't know."))
    fake.turn(
        *answer('Here:\n```json\n{"accounts": [{"id": 9007199254740993, "share": 1.0}], "note": "<b>x</b>"}\n```')
    )
    page.open().choose(output_schema={"type": "object", "required": ["accounts"]})
    page.ask("Which accounts?")
    until_the_tree_is_shown(page)
    page.reload()
    until_the_tree_is_shown(page)
    assert page.console() == []


def until_the_tree_is_shown(page: ShownPage) -> None:
    """Wait for the tree, and open all of it."""
    page.until_shown("Matched the schema on attempt 2", STRUCTURED)
    page.until_shown("<b>x</b>", f"{STRUCTURED} code")
    assert "Here:" not in page.texts(".answer")[0]
    for depth in (2, 3):
        page.element(f"{STRUCTURED} {'details ' * depth}> summary").click()
    page.until(lambda: {"9007199254740993", "1.0"} <= set(page.texts(f"{STRUCTURED} li code")))
    page.element(f"{STRUCTURED} > details:last-of-type > summary").click()
    page.until_shown('"id": 9007199254740993', f"{STRUCTURED} .code")
