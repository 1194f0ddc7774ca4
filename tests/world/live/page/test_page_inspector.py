"""The inspector in Chromium: events, numbers, the request and its programs."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from page_tasks import tasks_of
from process import Process
from selenium.webdriver import Keys
from shown_page import ShownPage
from wire import Done, Finish, Gate, Status, Text, ToolCall, Usage, WaitFor, answer

pytest_plugins = "page_fixtures"
pytestmark = pytest.mark.timeout(180)

ROWS = ".event-rows .event-row"
DETAIL = ".event-detail"
TABS = ("Run", "Events", "Request", "Code", "Faults", "Replay")
MANY = 20_000
FRAMES = 60
SCROLL = """
const [frames, done] = arguments;
const rows = document.querySelector(".event-rows");
let most = 0;
let frame = 0;
const step = () => {
  most = Math.max(most, rows.querySelectorAll(".event-row").length);
  frame += 1;
  rows.scrollTop = (rows.scrollHeight * frame) / frames;
  if (frame < frames) requestAnimationFrame(step);
  else requestAnimationFrame(() => setTimeout(() => done(most)));
};
step();
"""


@pytest.fixture(scope="module")
def app(app_with_all_tools: Process) -> Process:
    """A service in which the model may call every tool."""
    return app_with_all_tools


def stored(page: ShownPage) -> list[dict[str, Any]]:
    """The log of the latest run."""
    runs = httpx.get(f"{page.url}/api/agent/runs").json()["runs"]
    log = httpx.get(f"{page.url}/api/agent/runs/{runs[0]['run_id']}/events?wait=false")
    return [json.loads(line) for line in log.text.splitlines()]


def selected(page: ShownPage) -> Any:
    """The event whose JSON is shown, or None."""
    shown = page.texts(f"{DETAIL} code")
    return json.loads(shown[0]) if shown else None


def asked(page: ShownPage, fake: FakeDedalus) -> None:
    """Ask a question whose answer has a tool call."""
    fake.turn(ToolCall("call_1", "get_weather", '{"city": "Oslo"}'), Finish("tool_calls", Usage(80, 20, 100)), Done())
    fake.turn(*answer("It is cold.", Usage(100, 4, 104)))
    page.open().ask("How cold is it?")
    page.until_shown("It is cold.", "[role=log]")


def test_events_are_shown_with_their_json(page: ShownPage, fake: FakeDedalus) -> None:
    """Each event of the log is a row, in order. A click or an arrow key shows its JSON, and the URL names it."""
    asked(page, fake)
    page.press("Events")
    events = stored(page)
    page.until(lambda: len(page.texts(ROWS)) == len(events))
    shown = [row.split("\n")[:2] for row in page.texts(ROWS)]
    assert shown == [[str(event["seq"]), event["event"]] for event in events]
    page.element(f"{ROWS}:nth-child(3)").click()
    page.until(lambda: selected(page) == events[2])
    page.element(".event-grid").send_keys(Keys.ARROW_DOWN)
    page.until(lambda: selected(page) == events[3])
    assert page.query().endswith(f"&run={events[0]['run_id']}&seq=4")


def test_a_url_names_an_event(page: ShownPage, fake: FakeDedalus) -> None:
    """A URL with `seq` opens the tab Events with this event, in a narrow window too, for any run of the service."""
    asked(page, fake)
    event = stored(page)[6]
    page.size(390).open(f"?run={event['run_id']}&seq=7")
    page.until(lambda: selected(page) == event)
    page.size(1440).open(f"?run={event['run_id']}&seq=7")
    page.until(lambda: selected(page) == event)
    assert page.element(f"{ROWS}[aria-selected=true]").is_displayed()
    page.press("Close event 7")
    page.until(lambda: "seq" not in page.query())


def test_events_are_filtered(page: ShownPage, fake: FakeDedalus) -> None:
    """By kind and by text, together."""
    asked(page, fake)
    page.press("Events")
    page.control("Event type").send_keys("tool_result")
    page.until(lambda: [row.split("\n")[1] for row in page.texts(ROWS)] == ["tool_result"])
    page.control("Filter by text").send_keys("Bergen")
    page.until(lambda: page.texts(ROWS) == [])
    page.until_shown(f"0 of {len(stored(page))} events", ".events-view")


def test_deltas_are_folded(page: ShownPage) -> None:
    """A run of deltas is one row, which opens on a click, and for an event that is selected. Folding can be off."""
    page.open().choose(scenario="default")
    page.ask("How cold is it?")
    page.until_shown("succeeded", ".run-status")
    page.press("Events")
    events = stored(page)
    deltas = [event["seq"] for event in events if event["event"] == "partial_output"]
    last, title = deltas[-1], f"{len(deltas)} text deltas"
    page.press(f"▸ {title}")
    page.control(f"▾ {title}")
    page.element(f"#event-{deltas[1]}")
    page.press(f"▾ {title}")
    page.control(f"▸ {title}")
    page.element(f"#event-{last + 1}").click()
    page.element(".event-grid").send_keys(Keys.ARROW_UP)
    page.until(lambda: selected(page) == events[last - 1])
    page.press(f"Close event {last}")
    page.control(f"▸ {title}")
    page.press("Fold deltas")
    page.until(lambda: page.browser.find_elements("css selector", f"#event-{last}"))
    assert not page.has(".is-fold")
    page.press("Fold deltas")
    page.control("Event type").send_keys("partial_output")
    page.until_shown(f"{len(deltas)} of {len(events)} events", ".events-view")
    assert not page.has(".is-fold")


def test_calls_spans_and_failures_lead_to_their_events(page: ShownPage, fake: FakeDedalus) -> None:
    """A tool's card and its bar in the waterfall show the event of the call, and a failure shows its error."""
    asked(page, fake)
    call = next(event for event in stored(page) if event["event"] == "tool_use")
    page.element(".tool summary").click()
    page.press("Show event")
    page.until(lambda: selected(page) == call)
    page.press("Run")
    page.follow("get_weather")
    page.until(lambda: selected(page) == call)
    fake.turn(Status(401, {"error": {"message": "no"}}))
    page.ask("Fail")
    page.element(".failure")
    page.element(".failure .plain:not(.copy)").click()
    page.until(lambda: (selected(page) or {}).get("event") == "error")


def test_a_call_has_one_duration(page: ShownPage, fake: FakeDedalus) -> None:
    """The card in the chat and the waterfall show the time that the service has measured for the tool."""
    asked(page, fake)
    page.until_shown("ms", ".tool .state")
    page.until(lambda: page.texts(".run-span.is-tool .span-time") == page.texts(".tool .state"))


def test_a_call_that_was_not_made_has_no_time(page: ShownPage, fake: FakeDedalus) -> None:
    """The waterfall shows nothing for a call that a person has denied."""
    fake.turn(ToolCall("call_1", "delete_folder", '{"folder": "drafts"}'), Finish("tool_calls"), Done())
    fake.turn(*answer("As you wish."))
    page.open().ask("Delete the drafts")
    page.press("Deny")
    page.until_shown("As you wish.", "[role=log]")
    page.until_shown("succeeded", ".run-status")
    assert [text.strip() for text in page.texts(".run-span.is-tool .span-time")] == ["failed"]  # for a screen reader
    assert all("ms" in text or " s" in text for text in page.texts(".run-span:not(.is-tool) .span-time"))


def test_a_run_is_measured_while_it_streams(page: ShownPage, fake: FakeDedalus) -> None:
    """The waterfall and the status follow the run, and its end brings the numbers that the service reports."""
    gate = Gate()
    fake.turn(Text("one "), WaitFor(gate), Text("two"), Finish("stop", Usage(80, 42, 122)), Done())
    page.open().ask("Count.")
    page.until_shown("streaming", ".run-status")
    page.until(lambda: page.texts(".run-span")[0].startswith("Step 1"))
    gate.open()
    page.until_shown("succeeded", ".run-status")
    page.until_shown("stop", ".step-table")
    tiles = dict(tile.split("\n") for tile in page.texts(".tile"))
    assert (tiles["Tokens in"], tiles["Tokens out"], tiles["Cost"]) == ("80", "42", "price unknown")
    page.until_shown("price unknown", ".sidebar .item.is-current")
    assert page.has(".chart canvas")
    assert page.console() == []


def test_the_request_is_shown_as_it_was_sent(page: ShownPage, fake: FakeDedalus) -> None:
    """Path, headers and body, also after a reload. The programs ask the same question."""
    asked(page, fake)
    page.control("Send")
    page.reload()
    page.press("Request")
    page.element(".request-route")
    assert page.texts(".request-route") == ["POST\n/api/agent/stream"]
    assert "idempotency-key" in page.texts(".request-headers")[0]
    assert json.loads(page.texts(".tab-panel code")[-1])["input"] == "How cold is it?"
    page.press("Code")
    for title in ("curl", "fetch", "React", "Python"):
        page.element(".segments").find_element("xpath", f".//label[span='{title}']").click()
        page.until_shown("How cold is it?", ".tab-panel code")


def test_the_programs_of_a_new_chat_leave_the_tools_of_the_page_out(page: ShownPage) -> None:
    """They ask an example question, with what is chosen."""
    page.open().choose(tools=["get_weather", "page_title"])
    page.press("Code")
    page.until_shown("Why is the sky blue?", ".tab-panel code")
    [program] = page.texts(".tab-panel code")
    assert "get_weather" in program
    assert "client_tools" not in program


def test_the_tabs_work_with_the_keyboard(page: ShownPage) -> None:
    """The arrow keys, Home and End select a tab."""
    page.open().press("Run")
    page.keys(Keys.ARROW_RIGHT)
    assert page.focused() == "Events"
    page.keys(Keys.END)
    assert page.focused() == "Replay"
    page.keys(Keys.ARROW_RIGHT)
    assert page.focused() == "Run"
    assert page.element(".inspector [role=tab][aria-selected=true]").text == "Run"


def test_the_inspector_is_accessible(page: ShownPage, fake: FakeDedalus, axe: None) -> None:
    """axe-core finds nothing in any tab, in either theme."""
    asked(page, fake)
    for tab in TABS:
        page.press(tab)
        if tab == "Events":
            page.element(f"{ROWS}:nth-child(2)").click()
            page.element(f"{DETAIL} code")
        assert page.findings_in_both_themes(".inspector") == [], tab


def test_twenty_thousand_events_stay_fast(page: ShownPage, tmp_path: Path) -> None:
    """Only the rows in sight are in the page, and no task takes more than 50 ms while they scroll."""
    usage = {"input_tokens": None, "output_tokens": None, "total_tokens": None}
    complete = {"status": "succeeded", "usage": usage, "steps": 1, "duration_ms": MANY}
    entries: list[tuple[str, dict[str, Any]]] = [("run_started", {"model": "m"})]
    entries += [("partial_output", {"content": f"piece {number} "}) for number in range(MANY - 2)]
    entries.append(("complete", complete))
    with (tmp_path / "many.jsonl").open("w") as file:
        for seq, (name, data) in enumerate(entries, 1):
            time = f"2026-11-28T10:00:{seq // 1000:02}.{seq % 1000:03}Z"
            event = {"run_id": "run_1", "seq": seq, "timestamp": time, "event": name, "data": data}
            file.write(json.dumps(event) + "\n")
    page.open().press("Replay")
    page.browser.find_element("css selector", ".file-drop input").send_keys(str(tmp_path / "many.jsonl"))
    page.until_shown(f"event {MANY} of {MANY}")
    page.press("Events")
    page.until_shown(f"{MANY} events")
    page.until(lambda: len(page.texts(ROWS)) == 3, "the deltas as one row")
    page.press("Fold deltas")
    with tasks_of(page.browser) as tasks:
        assert page.browser.execute_async_script(SCROLL, FRAMES) < 80
    assert max(tasks) < 50
    page.until_shown("complete", ROWS)
