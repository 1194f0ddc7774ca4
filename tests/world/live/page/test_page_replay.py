"""Replays and run files in Chromium, and the comparison of two models."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from payloads import payloads
from selenium.webdriver import Keys
from shown_page import ShownPage
from wire import Done, Finish, Text, Thinking, Usage, answer

pytest_plugins = "page_fixtures"
pytestmark = pytest.mark.timeout(180)

FILE = ".file-drop input"
LOG = "[role=log]"
Entry = tuple[str, dict[str, Any]]
"""An event's name and data."""
PIECES = 200
STRANGERS = Path(__file__).with_name("strangers.js").read_text()
USAGE = {"input_tokens": None, "output_tokens": None, "total_tokens": None}
COMPLETE = {"status": "succeeded", "usage": USAGE, "steps": 1, "duration_ms": 1}
AT_ONCE = """
const [done] = arguments;
const begun = performance.now();
document.querySelector(".replay-card button.primary").click();
const look = () => {
  if (document.querySelector("[role=log]").innerText.includes("The end.")) done(performance.now() - begun);
  else requestAnimationFrame(look);
};
look();
"""


def log_of(page: ShownPage) -> httpx.Response:
    """The stored log of the latest run, as the page downloads it."""
    page.press("Replay")
    return httpx.get(str(page.element("a[download]").get_attribute("href")))


def asked(page: ShownPage, fake: FakeDedalus) -> None:
    """Ask a question whose answer has thinking, markdown, and some 200 pieces."""
    pieces = [f"**{number}** of many\n\n" for number in range(PIECES)]
    fake.turn(Thinking("Hm. "), Text(*pieces), Text("The end."), Finish("stop"), Done(), split=[200])
    page.open().ask("Count.")
    page.until_shown("The end.", LOG)


def opened(page: ShownPage, file: Path, content: str | bytes) -> None:
    """Open a run file with this content."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    page.browser.find_element("css selector", FILE).send_keys(str(file))


def run_file(*entries: Entry) -> str:
    time = "2026-11-28T10:00:00.000Z"
    events = [
        {"run_id": "run_1", "seq": seq, "timestamp": time, "event": name, "data": data}
        for seq, (name, data) in enumerate(entries, 1)
    ]
    return "".join(json.dumps(event) + "\n" for event in events)


def test_a_run_is_played_again(page: ShownPage, fake: FakeDedalus) -> None:
    """A replay shows the run at any event, and plays to its end. Then the chat is as it was."""
    asked(page, fake)
    page.press("Replay")
    page.press("Replay this run")
    page.until_shown("The end.", "[aria-label=Replay]")
    scrubber = page.element(".scrubber")
    scrubber.send_keys(Keys.HOME)
    page.until(lambda: page.texts(".replay-bar .muted")[0].startswith("event 0 of "))
    assert "of many" not in page.texts(LOG)[0]
    scrubber.send_keys(Keys.ARROW_RIGHT * 3)
    page.until_shown("event 3 of ", ".replay-bar")
    page.press("Play")
    page.until_shown("The end.", LOG)
    page.until(lambda: page.control("Play"))
    page.press("Back to chat")
    page.until_shown("The end.", LOG)
    assert not page.has(".replay-bar")
    assert page.console() == []


def test_two_hundred_events_play_within_a_second(page: ShownPage, tmp_path: Path) -> None:
    """At once is within a second, with markdown on. The best of three counts: other programs use the machine, too."""
    pieces: list[Entry] = [
        ("partial_output", {"content": f"- piece **{number}** `code`\n"}) for number in range(PIECES)
    ]
    end: list[Entry] = [("partial_output", {"content": "\nThe end."}), ("complete", COMPLETE)]
    page.open().press("Replay")
    opened(page, tmp_path / "run.jsonl", run_file(("run_started", {"model": "m"}), *pieces, *end))
    page.element(".segments").find_element("xpath", ".//label[span='Instant']").click()
    times = []
    for _ in range(3):
        page.element(".scrubber").send_keys(Keys.HOME)
        page.until(lambda: "The end." not in page.texts(LOG)[0])
        times.append(page.browser.execute_async_script(AT_ONCE))
    assert min(times) < 1_000


@pytest.mark.parametrize("form", ["jsonl", "sse"])
def test_a_downloaded_run_is_opened_again(page: ShownPage, fake: FakeDedalus, tmp_path: Path, form: str) -> None:
    """The file of a run, in either form, shows the same answer, also where the service doesn't have the run."""
    asked(page, fake)
    log = log_of(page)
    name = str(page.element("a[download]").get_attribute("download"))
    assert name == f"{json.loads(log.text.splitlines()[0])['run_id']}.jsonl"
    content = log.text if form == "jsonl" else httpx.get(str(log.url).replace("?wait=false", "")).text
    before = page.texts("[role=log] .answer .markdown")
    page.open().press("Replay")
    opened(page, tmp_path / f"run.{form}", content)
    page.until_shown("The end.", "[aria-label=Replay]")
    assert page.texts("[role=log] .answer .markdown") == before
    page.press("Events")
    page.until_shown(f"{len(log.text.splitlines())} events")
    assert page.console() == []


def test_a_replay_shows_what_the_chat_does(page: ShownPage, tmp_path: Path) -> None:
    """A file's restarted step is a line once its event is reached. The model, tokens and value are there as well."""
    entries: list[Entry] = [
        ("run_started", {"model": "a/one"}),
        ("step_started", {"step": 1, "model": "a/one"}),
        ("partial_output", {"content": "Dropped."}),
        ("step_restarted", {"step": 1, "reason": "fallback", "model": "b/two"}),
        ("warning", {"code": "history_cut", "message": "The history was cut."}),
        ("partial_output", {"content": '{"n": 1.0}'}),
        ("final_output", {"content": '{"n": 1.0}', "data": {"n": 1.0}, "attempts": 1}),
        ("complete", COMPLETE | {"usage": USAGE | {"output_tokens": 42}}),
    ]
    page.open().press("Replay")
    opened(page, tmp_path / "run.jsonl", run_file(*entries))
    page.until_shown("1.0", ".structured code")
    restarted, cut = page.texts(".answer .warning")
    assert restarted.endswith("b/two started over.")
    assert cut.startswith("The history was cut.")
    assert page.texts(".answer .facts")[0].startswith("b/two · 42 tokens")
    page.element(".scrubber").send_keys(Keys.HOME, Keys.ARROW_RIGHT * 3)
    page.until_shown("Dropped.", LOG)
    assert not page.has(".answer .warning")
    assert page.console() == []


def test_a_file_is_dropped(page: ShownPage) -> None:
    """A run file that is dropped on any tab is opened, and said to be incomplete if it is. A new chat closes it."""
    page.open()
    content = run_file(("run_started", {"model": "m"}), ("partial_output", {"content": "Dropped."}))
    page.browser.execute_script(
        "const data = new DataTransfer();"
        "data.items.add(new File([arguments[0]], 'run.jsonl'));"
        "document.querySelector('.inspector .tab-panel')"
        ".dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }))",
        content,
    )
    page.until_shown("Dropped.", LOG)
    page.until_shown("incomplete: it ends at event 2", ".replay-card")
    page.press("Run")
    assert page.texts(".run-status") == ["incomplete"]
    assert page.texts(".tile dd")[1] == "0 ms"
    page.press("New chat")
    page.until(lambda: not page.has(".replay-bar"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no run events"),
        ("<script>window.pwned=1</script>", "no run events"),
        (b"\xff\xfe\x00", "isn't UTF-8 text"),
        ("{broken\n", "Line 1 isn't valid JSON"),
        (run_file(("partial_output", {"content": ["x"]})), "data.content"),
        ('{"a":' + "[" * 20_000 + "]" * 20_000 + "}", "nested"),
    ],
)
def test_a_broken_file_says_what_is_wrong(page: ShownPage, tmp_path: Path, content: str | bytes, reason: str) -> None:
    """The page shows the reason with the file's name, stays as it is, and opens the next file."""
    page.open().press("Replay")
    opened(page, tmp_path / "<img src=x onerror=pwned=1>.jsonl", content)
    page.until_shown(reason, ".inspector [role=alert]")
    assert "<img src=x" in page.texts(".inspector [role=alert]")[0]
    assert page.browser.execute_script("return window.pwned") is None
    opened(page, tmp_path / "good.jsonl", run_file(("run_started", {"model": "m"}), ("complete", COMPLETE)))
    page.until_shown("event 2 of 2")
    assert not page.has(".inspector [role=alert]")


def hostile(text: str, step: int) -> list[Entry]:
    """The events of a step with this text wherever a text can be."""
    call = {"tool_call_id": text, "name": text}
    return [
        ("step_started", {"step": step, "model": text}),
        ("thinking", {"content": text}),
        ("partial_output", {"content": text}),
        ("tool_use_delta", {**call, "arguments_delta": text, "source": "python", "server": text}),
        ("tool_use", {**call, "arguments": {text: text}, "source": "python", "server": text}),
        ("approval_request", {**call, "arguments": {text: text}, "expires_at": text}),
        ("waiting", {"pending": [{**call, "kind": "approval"}]}),
        ("approval_response", {"tool_call_id": text, "approved": True, "reason": text}),
        ("waiting", {"pending": [{"kind": "budget", "spent_tokens": 2, "max_total_tokens": 1, "expires_at": text}]}),
        ("budget_response", {"approved": False, "max_total_tokens": 1}),
        ("tool_progress", {"tool_call_id": text, "message": text, "progress": 1, "total": 2}),
        ("tool_result", {**call, "content": text, "is_error": True, "truncated": False}),
        ("step_finished", {"step": step, "model": text, "finish_reason": text, "usage": USAGE}),
        ("warning", {"code": text, "message": text}),
        ("source", {"url": text, "title": text, "snippet": text}),
        ("source", {"url": f"https://example.org/{step}", "title": text, "snippet": text}),
        ("step_restarted", {"step": step, "reason": text, "model": text}),
        (text, {text: text}),
    ]


def test_a_hostile_file_runs_nothing(page: ShownPage, tmp_path: Path) -> None:
    """Payloads in each text of a run file are shown as text, in the chat and in each tab."""
    texts = ["__proto__", "constructor", *payloads("http://127.0.0.1:9")]
    entries: list[Entry] = [("run_started", {"model": texts[2], "session_id": texts[3]})]
    entries += [event for step, text in enumerate(texts, 1) for event in hostile(text, step)]
    entries.append(("final_output", {"content": "{}", "data": {text: [text] for text in texts}, "attempts": 2}))
    entries.append(("error", {"code": texts[4], "message": texts[5], "retryable": True, "request_id": texts[6]}))
    entries.append(("complete", {**COMPLETE, "status": "failed"}))
    page.open().press("Replay")
    opened(page, tmp_path / "<img src=x onerror=pwned=1>.jsonl", run_file(*entries))
    page.until_shown(f"event {len(entries)} of {len(entries)}")
    page.browser.execute_script(STRANGERS)
    for tab in ("run", "request", "code", "replay", "events"):
        page.element(f"#inspector-tab-{tab}").click()
        for part in ("main", "aside"):
            found = page.browser.execute_script("return strangersIn(document.querySelector(arguments[0]))", part)
            assert found == [], tab
    for number in range(6):
        page.element(".event-grid").send_keys(Keys.ARROW_DOWN * (1 + number % 3))
        page.element(".event-detail code")
    assert page.browser.execute_script("return window.pwned") is None
    assert page.console() == []


def test_two_models_are_compared(page: ShownPage, fake: FakeDedalus) -> None:
    """Each side has a picker, which takes any name. One question goes to both, and each side has its numbers."""
    fake.choose(lambda body: answer(f"I am {body['model']}.", Usage(3, 5, 8)))
    page.open().press("Compare two models…")
    page.until(lambda: page.state()["catalog"]["models"])
    for place, model in enumerate(("test/one", "test/two")):
        page.browser.find_elements("css selector", ".contestant .popover > button")[place].click()
        page.keys(model, Keys.ENTER)
    page.control("Model 2: two")
    page.control("Question for both models").send_keys("Who are you?", Keys.ENTER)
    page.until(lambda: page.texts(".contestant-text") == ["I am test/one.", "I am test/two."])
    page.until(lambda: all("succeeded" in figures for figures in page.texts(".contestant .figures")))
    for figures in page.texts(".contestant .figures"):
        assert "first token –" not in figures
        assert "total –" not in figures
        assert "5 tokens" in figures
    page.keys(Keys.ESCAPE)
    page.until(lambda: not page.has("dialog.compare"))
