"""Lost connections in Chromium: short and long ones, silent ones, a sleeping page, and a server that is killed."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fake_dedalus import FakeDedalus
from lossy_proxy import Line, line_to
from process import Nursery
from selenium.webdriver import Chrome
from tabs import Tab, service
from wire import Gate, Text, WaitFor, answer, calling, halved

pytest_plugins = "browser_fixtures"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine builds the app

NETWORK = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
OUTAGES_S = (3, 15, 40)  # the longest is longer than DISCONNECT_GRACE_S


@contextmanager
def streaming(nursery: Nursery, browser: Chrome, origin: str) -> Iterator[tuple[Tab, Line, Gate]]:
    """A tab with half an answer, the proxy that it uses, and the gate before the other half."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app, line_to(app.url) as line:
        fake.turn(*halved(gate))
        tab = Tab(browser, origin, baseUrl=line.url, sessionId="chat-1")
        tab.call("stream", "Count.")
        tab.until_state(lambda state: state["output"] == "one ")
        yield tab, line, gate
        assert len(fake.chats) == 1


def test_outages(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """A connection that is lost for 3, 15 and 40 seconds loses nothing: the answer ends meanwhile, and is read."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app, ExitStack() as stack:
        gate = Gate()
        fake.always(*halved(gate))
        lines = [stack.enter_context(line_to(app.url)) for _ in OUTAGES_S]
        tabs = [Tab(browser, origin, baseUrl=line.url, sessionId=f"chat{line.url[-5:]}") for line in lines]
        for tab in tabs:
            tab.call("stream", "Count.")
            tab.until_state(lambda state: state["output"] == "one ")
        began = time.monotonic()
        for line in lines:
            line.cut()
        for tab in tabs:
            assert tab.until_status("reconnecting")["output"] == "one "
        gate.open()
        for tab, line, outage in zip(tabs, lines, OUTAGES_S, strict=True):
            time.sleep(max(0, began + outage - time.monotonic()))
            line.restore()
            tab.script("window.dispatchEvent(new Event('online'))")
            state = tab.until_status("succeeded", timeout=5)
            assert (state["output"], state["error"]) == ("one two", None)
        assert len(fake.chats) == len(OUTAGES_S)


def test_an_outage_ends_without_a_sign(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """No browser event reports that the service is back: the hook finds out by retrying."""
    with streaming(nursery, browser, origin) as (tab, line, gate):
        line.cut()
        state = tab.until_state(lambda state: state["error"])
        assert (state["status"], state["error"]["code"]) == ("reconnecting", "network")
        gate.open()
        line.restore()
        assert tab.until_status("succeeded")["output"] == "one two"


def test_reconnect(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """`reconnect()` retries at once, and reads the rest of a run that the hook had stopped following."""
    with streaming(nursery, browser, origin) as (tab, line, gate):
        run_id = tab.state()["runId"]
        tab.close()
        tab = Tab(browser, origin, baseUrl=line.url, maxRetries="1")
        tab.call("attach", run_id)
        tab.until_state(lambda state: state["output"] == "one ")
        line.cut()
        assert tab.until_status("failed")["error"]["retryable"]
        gate.open()
        line.restore()
        tab.call("reconnect")
        state = tab.until_status("succeeded")
        assert (state["output"], state["error"]) == ("one two", None)


def test_silence(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """A connection on which nothing arrives is replaced after two and a half heartbeats, though nothing closes it."""
    with streaming(nursery, browser, origin) as (tab, line, gate):
        before = line.connections
        line.silence()
        began = time.monotonic()
        tab.until_status("reconnecting", timeout=13)
        assert time.monotonic() - began > 5
        line.restore()
        gate.open()
        assert tab.until_status("succeeded")["output"] == "one two"
        assert line.connections > before


def test_sleep(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """A frozen page whose connection is lost reads the rest when it wakes up."""
    with streaming(nursery, browser, origin) as (tab, line, gate):
        tab.command("Page.setWebLifecycleState", state="frozen")
        line.cut()
        gate.open()
        time.sleep(3)
        line.restore()
        tab.command("Page.setWebLifecycleState", state="active")
        assert tab.until_status("succeeded", timeout=10)["output"] == "one two"


def test_offline(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """When the browser is online again the hook retries at once."""
    with streaming(nursery, browser, origin) as (tab, line, gate):
        tab.command("Network.enable")
        tab.command("Network.emulateNetworkConditions", **NETWORK | {"offline": True})
        line.cut()
        tab.until_status("reconnecting")
        gate.open()
        line.restore()
        tab.command("Network.emulateNetworkConditions", **NETWORK | {"offline": False})
        assert tab.until_status("succeeded", timeout=5)["output"] == "one two"


PORTAL = b"<html><title>Sign in to the network</title></html>"
PORTAL_SAYS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nAccess-Control-Allow-Origin: *\r\n"
    b"Access-Control-Allow-Headers: *\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(PORTAL)
) + PORTAL


def test_something_else_answers(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """A proxy's page in place of the service doesn't end the run: its rest is read when the service is back."""
    with streaming(nursery, browser, origin) as (tab, line, gate):
        line.say(PORTAL_SAYS)
        state = tab.until_state(lambda state: state["error"] and state["error"]["code"] == "http_200")
        assert (state["status"], state["output"]) == ("reconnecting", "one ")
        gate.open()
        line.restore()
        assert tab.until_status("succeeded", timeout=15)["output"] == "one two"


def test_a_long_question_on_a_slow_line(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """A question that takes longer to send than a connection may be silent arrives at the first try."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, HEARTBEAT_S="0.2") as app:
        fake.turn(*answer("Long."))
        tab = Tab(browser, origin, baseUrl=app.url, heartbeatS="0.4")
        tab.command("Network.enable")
        tab.command("Network.emulateNetworkConditions", **NETWORK | {"offline": False, "uploadThroughput": 30_000})
        tab.call("stream", "word " * 20_000)
        state = tab.until_status("succeeded")
        tab.command("Network.emulateNetworkConditions", **NETWORK | {"offline": False})
        assert (state["output"], state["error"]) == ("Long.", None)
        assert sum("POST" in line for line in app.log) == 1


def test_a_server_that_has_lost_its_data(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """The page keeps the messages and says that the run no longer exists; the question can be asked again."""
    with ExitStack() as stack:
        fake = stack.enter_context(FakeDedalus.in_thread())
        fake.turn(Text("one "), WaitFor(Gate()))
        fake.turn(*answer("Here I am again."))
        before = stack.enter_context(service(nursery, origin, fake))
        tab = Tab(browser, origin, "chat", baseUrl=before.url, sessionId="chat-1")
        tab.ask("Are you there?")
        tab.until_shown("one", status="streaming")
        before.kill()
        stack.enter_context(service(nursery, origin, fake, PORT=str(urlsplit(before.url).port)))
        question, answer_shown, why = tab.until_shown("(run_not_found)", status="failed").splitlines()
        assert (question, answer_shown) == ("Are you there?", "one")
        assert "no run" in why
        tab.press("Try again")
        shown = tab.until_shown("Here I am again.", status="succeeded")
        assert shown.endswith("Are you there?\nHere I am again.")


def test_an_answer_in_an_outage(nursery: Nursery, browser: Chrome, origin: str, asking: dict[str, str]) -> None:
    """An approval that is sent during an outage arrives when the service is back, once."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, **asking) as app, line_to(app.url) as line:
        fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        fake.turn(*answer("Deleted."))
        tab = Tab(browser, origin, baseUrl=line.url)
        tab.call("stream", "Tidy up.")
        pending = tab.until_status("waiting")["pending"]
        line.cut()
        tab.call("approve", pending[0]["tool_call_id"])
        tab.script("return new Promise((resolve) => setTimeout(resolve, 1000))")
        assert tab.state()["status"] == "waiting"
        line.restore()
        assert tab.until_status("succeeded")["output"] == "Deleted."
        assert len(fake.chats) == 2


def test_the_service_is_not_there(browser: Chrome, origin: str) -> None:
    """If the service isn't running, the page shows the address and usual causes. A stopped question is taken back."""
    nowhere = "http://127.0.0.1:9"
    tab = Tab(browser, origin, baseUrl=nowhere)
    tab.call("stream", "Hello?")
    trying = tab.until_state(lambda state: state["error"])
    assert trying["status"] == "connecting"
    assert nowhere in trying["error"]["message"]
    assert "CORS_ORIGINS" in trying["error"]["message"]
    tab.call("stop")
    stopping = tab.until_status("stopping")
    assert stopping["error"] is None
    assert [message["status"] for message in stopping["messages"]] == ["cancelled"]


def test_a_server_that_is_killed(nursery: Nursery, browser: Chrome, origin: str, tmp_path: Path) -> None:
    """The page shows the text once, and why it ended; the question can be asked again."""
    with ExitStack() as stack:
        fake = stack.enter_context(FakeDedalus.in_thread())
        fake.turn(Text("one "), WaitFor(Gate()))
        fake.turn(*answer("Here I am again."))
        before = stack.enter_context(service(nursery, origin, fake, DATA_DIR=str(tmp_path)))
        tab = Tab(browser, origin, "chat", baseUrl=before.url, sessionId="chat-1")
        tab.ask("Are you there?")
        tab.until_shown("one", status="streaming")
        before.kill()
        port = str(urlsplit(before.url).port)
        stack.enter_context(service(nursery, origin, fake, DATA_DIR=str(tmp_path), PORT=port))
        question, answer_shown, why = tab.until_shown("(interrupted)", status="failed").splitlines()
        assert (question, answer_shown) == ("Are you there?", "one")
        run_id = httpx.get(f"{before.url}/api/agent/runs").json()["runs"][0]["run_id"]
        message = httpx.get(f"{before.url}/api/agent/runs/{run_id}").json()["error"]["message"]
        assert why.startswith(message)
        if screenshot := os.environ.get("SCREENSHOT"):
            browser.save_screenshot(screenshot)
        tab.press("Try again")
        assert tab.until_shown("Here I am again.", status="succeeded") == "Are you there?\nHere I am again."
