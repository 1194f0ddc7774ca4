"""Tabs of one browser, which opens six connections to an address for all of them (HTTP/1.1)."""

import json
from urllib.parse import urlsplit

import httpx
import pytest
from fake_dedalus import FakeDedalus
from process import Nursery
from selenium.webdriver import Chrome
from tabs import Tab, service
from wire import Done, Finish, Gate, Text, ToolCall, WaitFor, answer, calling, halved

pytest_plugins = "browser_fixtures"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine builds the app

TABS = 7
# In headless Chromium every tab counts as visible, whichever is in front.
BECOME = """
Object.defineProperty(document, "visibilityState", {{ value: "{}", configurable: true }});
document.dispatchEvent(new Event("visibilitychange"));
"""

NOTE_ANSWERS = """
window.answers = [];
const asked = window.fetch;
window.fetch = async (...request) => {
  const response = await asked(...request);
  const [type] = response.headers.get("Content-Type").split(";");
  if (String(request[0]).includes("/approvals/")) window.answers.push(type);
  return response;
};
"""


def test_seven_tabs_stream(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """The seventh tab gets a connection of the others, and each answer arrives whole."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        for _ in range(TABS):
            fake.turn(*halved(gate))
        tabs = []
        for number in range(TABS):
            tab = Tab(browser, origin, baseUrl=app.url, sessionId=f"chat-{number}").front()
            tab.call("stream", "Count.")
            tab.until_state(lambda state: state["output"] == "one ")
            tabs.append(tab)
        gate.open()
        for tab in tabs:
            assert tab.front().until_status("succeeded")["output"] == "one two"
        assert len(fake.chats) == TABS


def test_no_connection_is_left(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """If another page uses all connections, the hook names the address that it can't reach, and the likely cause."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.always(*halved(gate))
        other = Tab(browser, origin)
        request = 'method: "POST", headers: {"Content-Type": "application/json"}, body: \'{"input": "Hello"}\''
        other.script(f"for (let i = 0; i < 6; i++) fetch('{app.url}/api/agent/stream', {{{request}}})")
        tab = Tab(browser, origin, baseUrl=app.url)
        tab.call("stream", "Count.")
        waiting = tab.until_state(lambda state: state["error"])
        assert waiting["status"] == "connecting"
        assert app.url in waiting["error"]["message"]
        assert "six connections" in waiting["error"]["message"]
        other.close()
        state = tab.until_state(lambda state: state["output"] == "one ")
        assert (state["status"], state["error"]) == ("streaming", None)
        gate.open()
        assert tab.until_status("succeeded")["output"] == "one two"


def test_runs_wait_in_seven_tabs(nursery: Nursery, browser: Chrome, origin: str, asking: dict[str, str]) -> None:
    """A run that waits for a person holds no connection, so that each tab can answer its own."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, **asking) as app:
        for _ in range(TABS):
            fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        tabs = []
        for number in range(TABS):
            tab = Tab(browser, origin, baseUrl=app.url, sessionId=f"chat-{number}").front()
            tab.call("stream", "Tidy up.")
            tab.until_status("waiting")
            tabs.append(tab)
        for tab in tabs:
            fake.turn(*answer("Deleted."))
            call = tab.front().state()["pending"][0]["tool_call_id"]
            tab.call("approve", call)
            assert tab.until_status("succeeded", timeout=10)["output"] == "Deleted."


def test_an_answer_is_no_third_stream(nursery: Nursery, browser: Chrome, origin: str, asking: dict[str, str]) -> None:
    """While two tabs stream, the response to a person's answer in a third one is no stream. Later, it is one."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, **asking) as app:
        fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        tab = Tab(browser, origin, baseUrl=app.url)
        tab.call("stream", "Tidy up.")
        [call] = tab.until_status("waiting")["pending"]
        others = []
        for _ in range(2):
            fake.turn(*halved(gate))
            other = Tab(browser, origin, baseUrl=app.url).front()
            other.call("stream", "Count.")
            other.until_state(lambda state: state["output"] == "one ")
            others.append(other)
        fake.turn(*calling("delete_folder", '{"folder": "spam"}'))
        tab.front().script(NOTE_ANSWERS)
        tab.call("approve", call["tool_call_id"])
        [later] = tab.until_state(lambda state: state["pending"] and state["pending"] != [call])["pending"]
        gate.open()
        for other in others:
            other.front().until_status("succeeded")
        fake.turn(*answer("Deleted."))
        tab.front().call("approve", later["tool_call_id"])
        assert tab.until_status("succeeded")["output"] == "Deleted."
        assert tab.script("return window.answers") == ["application/json", "text/event-stream"]


def test_tools_of_seven_pages(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """Calls that the pages make themselves: each is made once, and its result arrives."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.always(*calling("locate"))
        tabs = [
            Tab(browser, origin, baseUrl=app.url, sessionId=f"chat-{number}", tool="locate") for number in range(TABS)
        ]
        browser.execute_script("localStorage.clear()")
        for tab in tabs:
            tab.call("stream", "Where am I?")
        for tab in tabs:
            tab.front().until_status("waiting")
        tabs[0].until(lambda: tabs[0].script("return localStorage.length") == TABS)
        assert tabs[0].script("return localStorage.length") == TABS
        fake.always(*answer("Bergen."))
        for tab in tabs:
            call = tab.front().state()["pending"][0]["tool_call_id"]
            tab.call("sendToolResult", call, "Bergen")
            assert tab.until_status("succeeded", timeout=10)["output"] == "Bergen."


def test_a_duplicated_tab(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """A duplicated tab takes the run for its own, too: the call of its tool is made once, by the tab that asked."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(Text("Wait. "), WaitFor(gate), *calling("locate"))
        fake.turn(*answer("Bergen."))
        tab = Tab(browser, origin, baseUrl=app.url, storageKey="run", tool="locate", result="Bergen")
        tab.script("localStorage.clear()")
        tab.call("stream", "Where am I?")
        tab.until_state(lambda state: state["output"] == "Wait. ")
        other = tab.duplicate()
        other.until_state(lambda state: state["output"] == "Wait. " and not state["isOurs"])
        gate.open()
        assert tab.front().until_status("succeeded")["isOurs"]
        assert other.front().until_status("succeeded")["output"] == "Bergen."
        assert tab.script("return localStorage.length") == 1


def test_a_duplicated_tab_takes_over(nursery: Nursery, browser: Chrome, origin: str) -> None:
    """A copy sends nothing for a call that its original makes. If it takes over, the model learns of the doubt."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*calling("locate"))
        fake.turn(*answer("Bergen."))
        tab = Tab(browser, origin, baseUrl=app.url, storageKey="run", tool="locate")
        tab.script("localStorage.clear()")
        tab.call("stream", "Where am I?")
        tab.until(lambda: tab.script("return localStorage.length") == 1)
        other = tab.duplicate()
        waiting = other.until_state(lambda state: state["status"] == "waiting" and not state["isOurs"])
        assert httpx.get(f"{app.url}/api/agent/runs/{waiting['runId']}").json()["status"] == "waiting"
        assert len(fake.chats) == 1
        other.call("attach", waiting["runId"])
        assert other.until_status("succeeded")["isOurs"]
        assert not tab.front().until_status("succeeded")["isOurs"]
        assert "its effect is unknown" in fake.chats[1].body["messages"][-1]["content"]
        assert tab.script("return localStorage.length") == 1


def test_somebody_else_answers(nursery: Nursery, browser: Chrome, origin: str, asking: dict[str, str]) -> None:
    """A page whose run waits shows within seconds that it was answered elsewhere, and continues."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, **asking) as app:
        fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        fake.turn(*answer("Deleted."))
        tab = Tab(browser, origin, baseUrl=app.url)
        tab.call("stream", "Tidy up.")
        state = tab.until_status("waiting")
        approval = f"{app.url}/api/agent/runs/{state['runId']}/approvals/{state['pending'][0]['tool_call_id']}"
        httpx.post(approval, json={"approved": True}).raise_for_status()
        after = tab.until_status("succeeded", timeout=15)
        assert (after["output"], after["pending"]) == ("Deleted.", [])


def test_a_hidden_tab(nursery: Nursery, browser: Chrome, origin: str, asking: dict[str, str]) -> None:
    """A hidden page whose run waits sends no request; when it is visible again it shows the answer."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, **asking) as app:
        fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        fake.turn(*answer("Deleted."))
        tab = Tab(browser, origin, baseUrl=app.url)
        tab.script(BECOME.format("hidden"))
        tab.call("stream", "Tidy up.")
        state = tab.until_status("waiting")
        run = f"{app.url}/api/agent/runs/{state['runId']}"
        tab.until(lambda: any(f"GET {urlsplit(run).path} HTTP" in line for line in app.log))  # it looks once
        call = state["pending"][0]["tool_call_id"]
        httpx.post(f"{run}/approvals/{call}", json={"approved": True}).raise_for_status()
        tab.until(lambda: httpx.get(run).json()["status"] == "succeeded")
        assert tab.state()["status"] == "waiting"
        tab.script(BECOME.format("visible"))
        assert tab.until_status("succeeded", timeout=5)["output"] == "Deleted."


def test_a_run_that_waits_twice(nursery: Nursery, browser: Chrome, origin: str, asking: dict[str, str]) -> None:
    """The run continues after the answers to its two calls, in either order, and waits for the next call."""
    calls = [ToolCall(f"call_{n}", "delete_folder", json.dumps({"folder": f"folder {n}"}), index=n) for n in range(2)]
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, **asking) as app:
        fake.turn(*calls, Finish("tool_calls"), Done())
        fake.turn(ToolCall("call_2", "delete_folder", '{"folder": "spam"}'), Finish("tool_calls"), Done())
        fake.turn(*answer("Deleted."))
        tab = Tab(browser, origin, baseUrl=app.url)
        tab.call("stream", "Tidy up.")
        first, second = (call["tool_call_id"] for call in tab.until_status("waiting")["pending"])
        tab.script(f"void window.agent.approve('{second}'); void window.agent.refuse('{first}')")
        third = tab.until_state(lambda state: len(state["pending"]) == 1 and len(state["toolCalls"]) == 3)["pending"][0]
        tab.call("approve", third["tool_call_id"])
        state = tab.until_status("succeeded", timeout=10)
        results = [(call["tool_call_id"], call["result"]["is_error"]) for call in state["toolCalls"]]
        assert results == [(first, True), (second, False), (third["tool_call_id"], False)]
        assert (state["output"], len(state["messages"])) == ("Deleted.", 2)
