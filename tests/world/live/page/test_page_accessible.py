"""axe-core finds nothing wrong with any state of the page, in the light and in the dark theme."""

from collections.abc import Callable, Iterator

import pytest
from fake_dedalus import FakeDedalus
from process import Process
from selenium.webdriver import Keys
from shown_page import ShownPage
from wire import Done, Finish, Gate, Status, Step, Text, Thinking, ToolCall, WaitFor, answer

pytest_plugins = "page_fixtures"
pytestmark = pytest.mark.usefixtures("axe")

LONG = """
# Tides

The sea rises and falls **twice a day**. See [the tables](https://example.com).

> Spring tides follow the full moon.

| port | height |
|---|---|
| Oslo | 0.4 m |

1. First
2. Second with `code`

```python
def height(hour: float) -> float:
    return 2 * math.cos(hour)  # in metres
```

---
"""


def calling(name: str, arguments: str) -> list[Step]:
    return [Thinking("The person wants this."), ToolCall("call_1", name, arguments), Finish("tool_calls"), Done()]


def first_visit(page: ShownPage, _: FakeDedalus) -> Iterator[None]:
    page.open()
    page.element(".starter")
    yield


def session_list(page: ShownPage, fake: FakeDedalus) -> Iterator[None]:
    yield from long_answer(page, fake)
    page.element(".sidebar .item.is-current")
    page.element(".sidebar .item.is-current a").click()
    yield
    page.press("Runs")
    page.element(".sidebar .item")
    yield
    page.press("Tools")
    page.press("get_weather")
    yield
    page.press("MCP")
    yield


def empty_chat(page: ShownPage, _: FakeDedalus) -> Iterator[None]:
    page.open("?session=a-chat-that-does-not-exist")
    yield


def running(page: ShownPage, fake: FakeDedalus) -> Iterator[None]:
    gate = Gate()
    fake.turn(Thinking("Let me see. "), Text("It is *cold*"), WaitFor(gate), Text("."), Finish(), Done())
    page.open().ask("Is it cold?")
    page.until_shown("cold", "[role=log] .message + .message")
    page.control("Stop")
    yield
    gate.open()
    page.control("Send")


def tool_call(page: ShownPage, fake: FakeDedalus) -> Iterator[None]:
    fake.turn(*calling("get_weather", '{"city": "Oslo"}'))
    fake.turn(*answer("3 °C."))
    page.open().ask("How warm is Oslo?")
    page.until_shown("3 °C.", "[role=log]")
    yield


def approval(page: ShownPage, fake: FakeDedalus) -> Iterator[None]:
    fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
    fake.turn(*answer("It is deleted."))
    page.open().ask("Delete the drafts")
    page.control("Approve")
    page.element(".sidebar .dot.is-waiting")
    yield
    page.press("Approve")
    page.until_shown("It is deleted.", "[role=log]")


def budget(page: ShownPage, _: FakeDedalus) -> Iterator[None]:
    page.open()
    page.choose(scenario="budget")
    page.ask("Is it cold?")
    page.control("Raise the budget")
    yield
    field = page.element(".dock input")
    field.clear()
    field.send_keys("1", Keys.ENTER)
    page.element(".dock [role=alert]")
    yield
    page.press("End the run")
    page.until_shown("budget_exceeded", ".failure")
    yield


def failed(page: ShownPage, fake: FakeDedalus) -> Iterator[None]:
    fake.turn(Status(400, {"error": {"message": "No."}}))
    page.open().ask("Fail")
    page.element("[role=log] [role=alert], [role=log] .failure")
    page.element(".sidebar .dot.is-failed")
    yield


def long_answer(page: ShownPage, fake: FakeDedalus) -> Iterator[None]:
    fake.turn(*answer(LONG * 5))
    page.open().ask("What are tides?")
    page.element("[role=log] table")
    page.control("Send")
    yield


def structured(page: ShownPage, _: FakeDedalus) -> Iterator[None]:
    page.open().choose(scenario="structured")
    page.ask("What is the weather?")
    page.control("Send")
    for fold in page.browser.find_elements("css selector", ".structured summary"):
        fold.click()
    yield


def sources(page: ShownPage, _: FakeDedalus) -> Iterator[None]:
    page.open().choose(scenario="sources")
    page.ask("Where is that written?")
    page.element(".cited-pages a")
    page.control("Send")
    yield


def fallback(page: ShownPage, _: FakeDedalus) -> Iterator[None]:
    page.open().choose(scenario="fallback")
    page.ask("Is it cold?")
    page.element(".answer .warning")
    page.control("Send")
    yield


def drawers(page: ShownPage, fake: FakeDedalus) -> Iterator[None]:
    page.size(390, 844)
    yield from tool_call(page, fake)
    page.press("Open sidebar")
    page.element(".sidebar.is-open .item")
    yield
    page.press("Close sidebar")
    page.press("Inspector")
    page.element(".inspector.is-open")
    yield


def pickers(page: ShownPage, _: FakeDedalus) -> Iterator[None]:
    page.open()
    for label in ("Model", "Tools and MCP servers", "Parameters"):
        page.element(f"[title='{label}']").click()
        page.element(f"[role=dialog][aria-label='{label}']")
        yield


def inspector(page: ShownPage, fake: FakeDedalus) -> Iterator[None]:
    yield from tool_call(page, fake)
    for tab in ("Run", "Events", "Request", "Code", "Faults"):
        page.press(tab) if tab != "Run" else page.element("#inspector-tab-run").click()
        yield


def replay(page: ShownPage, fake: FakeDedalus) -> Iterator[None]:
    yield from tool_call(page, fake)
    page.press("Replay")
    page.press("Replay this run")
    page.control("Back to chat")
    yield


def compare(page: ShownPage, _: FakeDedalus) -> Iterator[None]:
    page.open()
    page.press("Compare two models…")
    page.element("dialog[open]")
    yield
    page.element(".contestant .popover > button").click()
    page.element(".contestant [role=listbox]")
    yield


State = Callable[[ShownPage, FakeDedalus], Iterator[None]]
STATES: tuple[State, ...] = (
    first_visit,
    session_list,
    empty_chat,
    running,
    tool_call,
    approval,
    budget,
    failed,
    long_answer,
    structured,
    sources,
    fallback,
    drawers,
    pickers,
    inspector,
    replay,
    compare,
)


@pytest.fixture(scope="module")
def app(app_with_all_tools: Process) -> Process:
    """A service in which the model may call every tool."""
    return app_with_all_tools


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_nothing_is_found(page: ShownPage, fake: FakeDedalus, state: State) -> None:
    """Contrast, names, roles and structure are right in each state and both themes. A state may have several views."""
    for _ in state(page, fake):
        assert page.findings_in_both_themes() == []
