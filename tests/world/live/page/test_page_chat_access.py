"""The chat for people with a keyboard only, or who hear the page."""

from fake_dedalus import FakeDedalus
from selenium.webdriver import Keys
from shown_page import QUESTION, ShownPage
from wire import Done, Finish, Gate, Status, Text, Thinking, ToolCall, WaitFor, answer, calling

pytest_plugins = "page_fixtures"

LOG, ANSWER, DOCK = "[role=log]", ".answer", ".dock"
MARKDOWN = """# Title

Text with **bold**, `code`, a [link](https://example.org) and ~~nothing~~.

| a | b |
|---|--:|
| 1 | 2 |

- [x] done
- [ ] not done

> A quote.

```python
def f(a: int) -> str:
    return "x" * a  # comment
```
"""


def open_with_tools(page: ShownPage) -> None:
    page.open().choose(tools=["get_weather", "delete_folder"])


def test_axe_finds_nothing(page: ShownPage, fake: FakeDedalus, axe: None) -> None:
    """In no state of the chat, in either theme: an unfolded answer, an editor, a call that waits, a failure."""
    open_with_tools(page)
    fake.turn(Thinking("Let me look."), *calling("get_weather", '{"city": "Oslo"}'))
    fake.turn(*answer(MARKDOWN))
    page.ask("How cold is it?")
    page.until_shown("comment", ".code .hljs-comment")
    page.element(".tool summary").click()
    page.element(".thinking summary").click()
    page.until_shown("Result", ".tool-details")
    assert page.findings_in_both_themes(".chat") == []
    page.press("Edit question")
    page.element(".editor textarea")
    assert page.findings_in_both_themes(".chat") == []
    page.keys(Keys.ESCAPE)
    fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
    page.ask("Delete the drafts")
    page.element(f"{DOCK} textarea").send_keys("x")
    page.press("Add a reason")
    assert page.findings_in_both_themes(".chat") == []
    page.press("Stop")
    page.until_shown("Stopped.", ANSWER)
    fake.turn(Status(401, {"error": {"message": "no"}}))
    page.ask("Fail")
    page.element(".failure")
    assert page.findings_in_both_themes(".chat") == []


def test_a_keyboard_is_enough(page: ShownPage, fake: FakeDedalus) -> None:
    """A call that waits gets the focus, Tab leads through its card, and after the decision the composer has it."""
    open_with_tools(page)
    fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
    fake.turn(*answer("It is gone."))
    page.element(QUESTION).send_keys("Delete the drafts", Keys.ENTER)
    page.until(lambda: page.focused() == "Allow the agent to call delete_folder?")
    visited = [focus_after(page) for _ in range(4)]
    assert visited == ["Arguments for delete_folder (JSON)", "Approve", "Deny", "Add a reason"]
    page.focus(f"{DOCK} .primary")
    page.keys(Keys.ENTER)
    page.until_shown("It is gone.", ANSWER)
    page.until(lambda: page.focused() == "Question")


def focus_after(page: ShownPage) -> str:
    """Press Tab, and return the name of the control that has the focus then."""
    page.keys(Keys.TAB)
    return page.focused()


def test_a_call_takes_no_focus_from_a_person_who_writes(page: ShownPage, fake: FakeDedalus) -> None:
    """The focus stays in a composer that isn't empty. After the first of two decisions, the second call has it."""
    gate = Gate()
    calls = [ToolCall(f"call_{place}", "delete_folder", '{"folder": "f"}', index=place) for place in range(2)]
    fake.turn(WaitFor(gate), *calls, Finish("tool_calls"), Done())
    fake.turn(*answer("As you wish."))
    open_with_tools(page)
    page.ask("Delete the drafts")
    page.control("Stop")
    page.element(QUESTION).send_keys("And then")
    gate.open()
    page.element(DOCK)
    assert page.focused() == "Question"
    page.press("Deny")
    page.until(lambda: page.focused() == "Allow the agent to call delete_folder?")
    page.press("Approve")
    page.until(lambda: page.focused() == "Question")


def test_what_happens_is_said(page: ShownPage, fake: FakeDedalus) -> None:
    """A live region has the beginning and the end of an answer. The log itself is silent: each token would be read."""
    gate = Gate()
    fake.turn(Text("It is "), WaitFor(gate), Text("cold."), Finish("stop"), Done())
    page.open().ask("Is it cold?")
    page.until(lambda: said(page) == "The agent is answering.")
    gate.open()
    page.until(lambda: said(page) == "Answer complete. It is cold.")
    assert page.element(LOG).get_attribute("aria-live") == "off"


def said(page: ShownPage) -> str:
    """The text of the chat's live region."""
    return str(page.browser.execute_script("return document.querySelector('.chat > [role=status]').textContent"))
