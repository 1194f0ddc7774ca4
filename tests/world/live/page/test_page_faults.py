"""The fault buttons in Chromium, and real faults: outages, reloads, seven tabs, a killed service."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from browser import open_tab
from fake_dedalus import FakeDedalus
from lossy_proxy import line_to
from page_service import TOOLS, page_app
from process import Nursery, Process, forked_app
from selenium.webdriver import Chrome
from shown_page import ShownPage
from wire import Done, Finish, Gate, Step, Text, WaitFor, answer, calling

pytest_plugins = "page_fixtures"
pytestmark = pytest.mark.timeout(180)

TABS = 7
CUT, OFFLINE, SLOW, DROP = range(4)
LOG = "[role=log]"
PROOF = ".proof"
HOLDS = ("Nothing lost", "No duplicates", "Nothing changed", "Same text")


def half(gate: Gate, begun: str = "one ", ended: str = "two") -> list[Step]:
    """An answer that stops in its middle until the gate is open."""
    return [Text(begun), WaitFor(gate), Text(ended), Finish("stop"), Done()]


def press_fault(page: ShownPage, fault: int) -> None:
    page.element("#inspector-tab-faults").click()
    page.browser.find_elements("css selector", ".fault")[fault].click()


def until_proved(page: ShownPage, connections: int) -> None:
    """Wait for the proof that the run arrived whole, over so many connections."""
    page.until_shown("Answer fully recovered", PROOF)
    shown = page.texts(PROOF)[0]
    assert all(title in shown for title in HOLDS)
    assert "✗" not in shown
    assert len(page.texts(".connections li")) == connections


@pytest.mark.parametrize("fault", [CUT, OFFLINE])
def test_a_lost_connection_loses_nothing(page: ShownPage, fake: FakeDedalus, fault: int) -> None:
    """The rest is read over another connection, and the page proves it against the log."""
    gate = Gate()
    fake.turn(*half(gate))
    page.open().ask("Count.")
    page.until_shown("one", f"{LOG} .answer")
    press_fault(page, fault)
    page.until(lambda: page.texts(".connections li")[0].endswith("cut"))
    gate.open()
    page.until_shown("one two", f"{LOG} .answer")
    until_proved(page, connections=2)


def test_event_17_is_dropped_and_comes_again(page: ShownPage) -> None:
    """Without an answer under way, a scripted one begins. Event 17 and all after it come over a second connection."""
    page.open()
    press_fault(page, DROP)
    page.until(lambda: "events 1–16 · dropped" in "".join(page.texts(".connections li")))
    page.until_shown("events 17–", ".connections")
    until_proved(page, connections=2)


def test_a_slow_line_loses_nothing(page: ShownPage) -> None:
    """At five events a second the answer grows slowly. At full speed again, the rest comes at once."""
    page.open()
    press_fault(page, SLOW)
    page.until(lambda: 3 < len(page.state()["frames"]) < 40)
    assert page.element(".fault:nth-child(3)").get_attribute("aria-pressed") == "true"
    press_fault(page, SLOW)
    until_proved(page, connections=1)


def test_a_script_answers_in_place_of_the_model(page: ShownPage, fake: FakeDedalus) -> None:
    """The next question goes to the chosen scenario, and after `off` to the model again."""
    asked = len(fake.chats)
    page.open()
    page.element("#inspector-tab-faults").click()
    picker = page.element(".tab-panel select")
    picker.send_keys("default")
    page.until_state(lambda state: state["choice"]["scenario"] == "default")
    page.ask("Is it cold?")
    page.until_shown("light snow", LOG)
    assert len(fake.chats) == asked


def test_seven_tabs_stream_over_two_connections(browser: Chrome, app: Process, fake: FakeDedalus) -> None:
    """Each tab asks, and two streams at most stay open at the service. Each answer arrives whole, once."""
    gate = Gate()
    tabs: list[str] = []
    with line_to(app.url) as line:
        shown = ShownPage(browser, line.url)
        for number in range(TABS):
            open_tab(browser)
            tabs.append(browser.current_window_handle)
            fake.turn(*half(gate, f"begun {number} ", f"ended {number}"))
            shown.open(is_first_visit=False).ask("Count.")
            shown.until_shown(f"begun {number}", f"{LOG} .answer")
            shown.until(lambda: line.streams > 0, "a stream")
            assert line.streams <= 2
        gate.open()
        for number, tab in enumerate(tabs):
            browser.switch_to.window(tab)
            browser.execute_cdp_cmd("Page.bringToFront", {})
            shown.until_shown(f"begun {number} ended {number}", f"{LOG} .answer")
            assert shown.texts(LOG)[0].count(f"ended {number}") == 1


def answers_of(url: str) -> list[Any]:
    """The answers that the service has stored in its only session."""
    (session,) = httpx.get(f"{url}/api/agent/sessions").json()["sessions"]
    messages = httpx.get(f"{url}/api/agent/sessions/{session['session_id']}/messages").json()["messages"]
    return [message["content"] for message in messages if message["role"] == "assistant"]


def test_an_outage_a_reload_a_second_tab_and_a_kill(nursery: Nursery, browser: Chrome, tmp_path: Path) -> None:
    """Nothing is lost and nothing doubled, whatever comes between: both tabs show what the service has stored."""
    gate = Gate()
    with ExitStack() as stack:
        fake = stack.enter_context(FakeDedalus.in_thread())
        settings = {"DEDALUS_BASE_URL": fake.url, "DEFAULT_MODEL": "m", "DATA_DIR": str(tmp_path)}
        before = stack.enter_context(forked_app(nursery, **settings))
        open_tab(browser)
        page = ShownPage(browser, before.url).size(1440)
        fake.turn(*half(gate))
        page.open().ask("Count.")
        page.until_shown("one", f"{LOG} .answer")
        press_fault(page, CUT)
        page.reload()
        page.until_shown("one", f"{LOG} .answer")
        query = page.query()
        browser.switch_to.new_window("tab")
        tabs = browser.window_handles[-2:]
        page.size(1440).open(query, is_first_visit=False)
        page.until_shown("one", f"{LOG} .answer")
        before.kill()
        port = str(urlsplit(before.url).port)
        stack.enter_context(forked_app(nursery, PORT=port, **settings))
        for handle in tabs:
            browser.switch_to.window(handle)
            page.until_shown("interrupted", LOG)
            assert page.texts(f"{LOG} .answer .markdown") == ["one"]
        fake.turn(Text("one two"), Finish("stop"), Done())
        page.ask("Again.")
        for handle in tabs:
            browser.switch_to.window(handle)
            page.until(lambda: page.texts(f"{LOG} .answer .markdown") == ["one", "one two"])
        assert answers_of(before.url) == ["one ", "one two"]


@pytest.mark.parametrize(
    ("about", "button", "turns"), [({}, "Approve", 2), ({"max_total_tokens": 20}, "Raise the budget", 1)]
)
def test_a_run_that_waits_outlives_the_service(
    nursery: Nursery, browser: Chrome, tmp_path: Path, about: dict[str, int], button: str, turns: int
) -> None:
    """The dock stays through the end of the service, and the next one takes the answer."""
    data = {"DATA_DIR": str(tmp_path / "data"), "TOOLS_BY_DEFAULT": "all"}
    with ExitStack() as stack:
        fake = stack.enter_context(FakeDedalus.in_thread())
        if turns == 2:
            fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        fake.turn(*answer("It is done."))
        before = stack.enter_context(page_app(nursery, fake, tmp_path, TOOLS, **data))
        open_tab(browser)
        page = ShownPage(browser, before.url).size(1440).open()
        page.choose(**about)
        page.ask("Do it.")
        page.control(button)
        before.kill()
        port = str(urlsplit(before.url).port)
        stack.enter_context(page_app(nursery, fake, tmp_path, TOOLS, PORT=port, **data))
        if about:
            page.element(".dock input").send_keys("00")
        page.press(button)
        page.until_shown("It is done.", f"{LOG} .answer .markdown")
        assert page.texts(f"{LOG} .answer .markdown") == ["It is done."]
        assert len(fake.chats) == turns
