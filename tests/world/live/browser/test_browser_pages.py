"""Pages in Chromium: reloaded, left, opened again and on other devices, and what their users see."""

import os
from collections.abc import Iterator
from functools import partial

import httpx
import next_app
import pytest
from browser import chromium
from fake_dedalus import FakeDedalus
from process import Nursery
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from tabs import Tab, service
from wire import Cut, Done, Finish, Gate, Pause, Step, Text, Thinking, ToolCall, WaitFor, answer, calling, halved

pytest_plugins = "browser_fixtures"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine builds the app

WORDS = [f"word{number:03} " for number in range(300)]


def slowly(gate: Gate) -> list[Step]:
    """An answer of many words, one after the other. The last one waits for the gate."""
    words = [step for word in WORDS[:-1] for step in (Text(word), Pause(0.005))]
    return [*words, WaitFor(gate), Text(WORDS[-1]), Finish("stop"), Done()]


def said(state: dict[str, object]) -> list[tuple[str, object, str]]:
    """The conversation: role, content and status of each message."""
    messages = state["messages"]
    assert isinstance(messages, list)
    return [(message["role"], message["content"], message["status"]) for message in messages]


def has_failed(state: dict[str, object], run_id: str) -> bool:
    return (state["runId"], state["status"]) == (run_id, "failed")


@pytest.fixture(scope="module")
def second_device() -> Iterator[Chrome]:
    """A browser with another profile."""
    with chromium() as browser:
        yield browser


def test_a_page_that_is_reloaded(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """Reloaded while the answer streams, the page continues it, and shows all of it exactly once."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*slowly(gate))
        tab = Tab(browser, origin, "chat", baseUrl=app.url, sessionId="chat-1")
        tab.ask("Say something long.")
        tab.until_shown(WORDS[50].strip(), status="streaming")
        tab.reload()
        tab.until_shown(WORDS[150].strip(), status="streaming")
        gate.open()
        shown = tab.until_shown(WORDS[-1].strip(), status="succeeded")
        assert shown == "\n".join(["Say something long.", "".join(WORDS).strip()])
        assert len(fake.chats) == 1


def test_in_development(nursery: Nursery, browser: Chrome) -> None:
    """In development, where StrictMode runs effects twice, a question is one run, also after a reload."""
    next_app.HOOK_APP.build()
    gate = Gate()
    with (
        next_app.HOOK_APP.served("dev") as origin,
        FakeDedalus.in_thread() as fake,
        service(nursery, origin, fake) as app,
    ):
        fake.turn(*halved(gate))
        tab = Tab(browser, origin, baseUrl=app.url, sessionId="chat-1")
        tab.call("stream", "Count.")
        run_id = tab.until_state(lambda state: state["output"] == "one ")["runId"]
        tab.reload()
        tab.until_state(lambda state: state["output"] == "one ")
        gate.open()
        after = tab.until_status("succeeded")
        assert (after["runId"], after["output"], len(fake.chats)) == (run_id, "one two", 1)


@pytest.mark.parametrize("way", ["link", "back"])
def test_away_and_back(nursery: Nursery, origin: str, browser: Chrome, way: str) -> None:
    """A page that Next.js keeps while another one is shown has its finished answer when it is back."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*answer("Hello."))
        tab = Tab(browser, origin, "chat", baseUrl=app.url)
        tab.ask("Hello?")
        tab.until_shown("Hello.", status="succeeded")
        tab.follow_link("Elsewhere")
        tab.until(lambda: tab.heading() == "Elsewhere")
        if way == "link":
            tab.follow_link("Return")
        else:
            tab.back()
        assert tab.until_shown("Hello.", status="succeeded") == "Hello?\nHello."


def test_away_and_back_in_mid_stream(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """The text that arrived meanwhile is shown when the page is back, and the rest streams as before."""
    gate, other = Gate(), Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(Text("one "), WaitFor(gate), Text("two "), WaitFor(other), Text("three"), Finish("stop"), Done())
        tab = Tab(browser, origin, "chat", baseUrl=app.url)
        tab.ask("Count.")
        tab.until_shown("one", status="streaming")
        tab.follow_link("Elsewhere")
        tab.until(lambda: tab.heading() == "Elsewhere")
        gate.open()
        tab.back()
        tab.until_shown("one two", status="streaming")
        other.open()
        assert tab.until_shown("one two three", status="succeeded") == "Count.\none two three"
        assert len(fake.chats) == 1


def test_a_second_device(nursery: Nursery, origin: str, browser: Chrome, second_device: Chrome) -> None:
    """A session opened elsewhere shows the running answer, to its end."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*halved(gate))
        first = Tab(browser, origin, baseUrl=app.url, sessionId="chat-1")
        first.call("stream", "Count.")
        run_id = first.until_state(lambda state: state["output"] == "one ")["runId"]
        second = Tab(second_device, origin, baseUrl=app.url, sessionId="chat-1")
        state = second.until_state(lambda state: state["output"] == "one ")
        assert (state["status"], state["runId"]) == ("streaming", run_id)
        gate.open()
        whole = [("user", "Count.", "succeeded"), ("assistant", "one two", "succeeded")]
        assert said(second.until_status("succeeded")) == said(first.until_status("succeeded")) == whole


def test_a_question_on_another_device(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """An open page shows a question that is asked elsewhere in its session, and follows the answer."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*halved(gate))
        tab = Tab(browser, origin, baseUrl=app.url, sessionId="chat-1")
        body = {"input": "Count.", "session_id": "chat-1"}
        httpx.post(f"{app.url}/api/agent/runs", json=body).raise_for_status()
        tab.until_state(lambda state: state["output"] == "one ")
        gate.open()
        state = tab.until_status("succeeded")
        assert said(state) == [("user", "Count.", "succeeded"), ("assistant", "one two", "succeeded")]


def test_a_reload_without_a_session(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """With `storageKey` alone the question is shown again, too, and can be repeated."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*halved(gate))
        fake.turn(*answer("Again."))
        tab = Tab(browser, origin, baseUrl=app.url, storageKey="run")
        tab.call("stream", {"input": "Count.", "temperature": 0.5})
        tab.until_state(lambda state: state["output"] == "one ")
        tab.reload()
        state = tab.until_state(lambda state: state["output"] == "one ")
        assert [content for _, content, _ in said(state)] == ["Count.", "one "]
        gate.open()
        tab.until_status("succeeded")
        assert tab.script("return sessionStorage.length") == 0
        tab.call("regenerate")
        tab.until_state(lambda state: state["output"] == "Again.")
        assert [chat.body["temperature"] for chat in fake.chats] == [0.5, 0.5]


def test_the_id_of_a_run(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """The hook attaches to a pasted id; an unknown id is an error, and starts nothing."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*answer("Hello."))
        run_id = httpx.post(f"{app.url}/api/agent/runs", json={"input": "Hello?"}).json()["run_id"]
        tab = Tab(browser, origin, baseUrl=app.url)
        tab.call("attach", f" {run_id}\n")
        state = tab.until_status("succeeded")
        assert (state["runId"], state["output"]) == (run_id, "Hello.")
        for no_id in ("", "no such run", "../../../health?x=1", f"{run_id}/events#"):
            tab.call("attach", no_id)
            state = tab.until_state(partial(has_failed, run_id=no_id))
            assert state["error"]["code"] in {"run_not_found", "not_found"}
        assert len(httpx.get(f"{app.url}/api/agent/runs").json()["runs"]) == len(fake.chats) == 1


def test_a_question_that_is_refused(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """The question has failed, and `stream` resolves: the error says which part of the request is wrong."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        tab = Tab(browser, origin, baseUrl=app.url)
        assert tab.script("return window.agent.stream({input: 'Hello?', temperature: 99})") is None
        state = tab.until_status("failed")
        assert [detail["loc"] for detail in state["error"]["details"]] == ["body.temperature"]
        assert said(state) == [("user", "Hello?", "failed")]


def test_a_tab_that_is_closed(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """The run continues, and the session opened again shows its answer."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, DISCONNECT_GRACE_S="0.2") as app:
        fake.turn(*halved(gate))
        tab = Tab(browser, origin, baseUrl=app.url, sessionId="chat-1")
        tab.call("stream", "Count.")
        tab.until_state(lambda state: state["output"] == "one ")
        tab.close()
        again = Tab(browser, origin, baseUrl=app.url, sessionId="chat-1")
        again.until_state(lambda state: state["output"] == "one ")
        gate.open()
        assert again.until_status("succeeded")["output"] == "one two"


def test_another_session_and_back(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """A page that shows another session meanwhile has the whole answer when it is back, each in its session."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*halved(gate))
        fake.turn(*answer("Hello."))
        tab = Tab(browser, origin, baseUrl=app.url, sessionId="chat-1")
        tab.call("stream", "Count.")
        tab.until_state(lambda state: state["output"] == "one ")
        tab.script("window.openSession('chat-2')")
        tab.until_state(lambda state: state["messages"] == [])
        tab.call("stream", "Hello?")
        tab.until_state(lambda state: state["output"] == "Hello.")
        tab.script("window.openSession('chat-1')")
        state = tab.until_state(lambda state: state["output"] == "one ")
        assert [content for _, content, _ in said(state)] == ["Count.", "one "]
        gate.open()
        assert said(tab.until_status("succeeded"))[1] == ("assistant", "one two", "succeeded")
        tab.script("window.openSession('chat-2')")
        state = tab.until_state(lambda state: len(state["messages"]) == 2 and state["runId"] is None)
        assert [content for _, content, _ in said(state)] == ["Hello?", "Hello."]


def test_a_session_that_waits(nursery: Nursery, origin: str, browser: Chrome, asking: dict[str, str]) -> None:
    """Opened again, the page asks the person; both pages get the answer."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, **asking) as app:
        fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        fake.turn(*answer("Deleted."))
        first = Tab(browser, origin, baseUrl=app.url, sessionId="chat-1")
        first.call("stream", "Tidy up.")
        pending = first.until_status("waiting")["pending"]
        second = Tab(browser, origin, baseUrl=app.url, sessionId="chat-1")
        assert second.until_status("waiting")["pending"] == pending
        second.call("approve", pending[0]["tool_call_id"])
        assert second.until_status("succeeded")["output"] == "Deleted."
        assert first.until_status("succeeded", timeout=15)["output"] == "Deleted."


def test_a_session_with_a_queue(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """Opened while one question is running and the next one waits for its turn, it shows both answers."""
    gate, other = Gate(), Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*halved(gate))
        fake.turn(Text("three "), WaitFor(other), Text("four"), Finish("stop"), Done())
        for question in ("Count.", "Go on."):
            body = {"input": question, "session_id": "chat-1", "multitask": "enqueue"}
            httpx.post(f"{app.url}/api/agent/runs", json=body).raise_for_status()
        tab = Tab(browser, origin, baseUrl=app.url, sessionId="chat-1")
        tab.until_state(lambda state: state["output"] == "one ")
        gate.open()
        tab.until_state(lambda state: state["output"] == "three ")
        other.open()
        state = tab.until_state(lambda state: state["output"] == "three four" and state["status"] == "succeeded")
        contents = [message["content"] for message in state["messages"]]
        assert contents == ["Count.", "one two", "Go on.", "three four"]


def test_two_questions_at_once(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """Asked in two tabs of one session, one is answered; the other page says so, and shows it."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*halved(gate))
        tabs = [Tab(browser, origin, "chat", baseUrl=app.url, sessionId="chat-1") for _ in range(2)]
        for tab in tabs:
            tab.type("Count.")
        for tab in tabs:
            tab.press("Ask")
        for tab in tabs:
            tab.until_shown("one", status="streaming")
        alerts = [tab.script("return document.querySelector('[role=alert]')?.innerText") for tab in tabs]
        (alert,) = filter(None, alerts)
        assert "still being answered" in alert
        assert "multitask" not in alert
        gate.open()
        for tab in tabs:
            assert tab.until_shown("one two", status="succeeded") == "Count.\none two"
        assert len(fake.chats) == 1


def test_enter_twice(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """The question is asked once, and its answer isn't cut off."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*halved(gate))
        tab = Tab(browser, origin, "chat", baseUrl=app.url, sessionId="chat-1")
        tab.type("Count." + Keys.ENTER + Keys.ENTER)
        tab.until_shown("one", status="streaming")
        gate.open()
        assert tab.until_shown("one two", status="succeeded") == "Count.\none two"
        assert len(fake.chats) == 1


def test_parts_stay_with_their_message(nursery: Nursery, origin: str, browser: Chrome, asking: dict[str, str]) -> None:
    """Thinking, calls and text are in order, and the same after the next question and after a reload."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, **asking) as app:
        fake.turn(Thinking("Hm. "), Text("Let me see."), *calling("current_time"))
        fake.turn(*answer("It is noon."))
        fake.turn(*answer("You are welcome."))
        tab = Tab(browser, origin, baseUrl=app.url, sessionId="chat-1")

        def kinds(state: dict[str, object]) -> list[list[str]]:
            messages = state["messages"]
            assert isinstance(messages, list)
            return [[part.get("text", part["type"]) for part in message["parts"]] for message in messages]

        first = ["Hm. ", "Let me see.", "tool_call", "It is noon."]
        tab.call("stream", "What time is it?")
        assert kinds(tab.until_status("succeeded")) == [[], first]
        tab.call("stream", "Thank you.")
        both = [[], first, [], ["You are welcome."]]
        assert kinds(tab.until_state(lambda state: state["output"] == "You are welcome.")) == both
        tab.reload()
        state = tab.until_state(lambda state: len(state["messages"]) == 4)
        assert kinds(state) == both
        assert state["messages"][1]["parts"][2]["call"]["result"]["is_error"] is False


def test_a_step_that_thinks_and_calls_in_between(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """Text that follows a thought or a call of the same step is shown after it."""
    call = ToolCall("call_1", "current_time", "{}")
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(Text("a"), Thinking("Hm."), Text("b", "c"), call, Text("d"), Finish("tool_calls"), Done())
        fake.turn(*answer("It is noon."))
        tab = Tab(browser, origin, baseUrl=app.url)
        tab.call("stream", {"input": "What time is it?", "tools": ["current_time"]})
        state = tab.until_status("succeeded")
        parts = [part.get("text", part["type"]) for part in state["messages"][1]["parts"]]
        assert parts == ["a", "Hm.", "bc", "tool_call", "d", "It is noon."]
        assert state["output"] == "It is noon."


def test_turns_that_did_not_end_well(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """An answer that was stopped and one that failed are marked as such, also after a reload."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*halved(Gate()))
        fake.turn(Text("Well "), Cut())
        tab = Tab(browser, origin, "chat", baseUrl=app.url, sessionId="chat-1")
        tab.ask("Count.")
        tab.until_shown("one", status="streaming")
        tab.press("Stop")
        assert tab.until_shown("Stopped.", status="cancelled") == "Count.\none\nStopped."
        tab.until(lambda: httpx.get(f"{app.url}/api/agent/runs").json()["runs"][0]["status"] == "cancelled")
        tab.ask("And now?")
        shown = tab.until_shown("(upstream_disconnected)", status="failed").splitlines()
        assert shown[:5] == ["Count.", "one", "Stopped.", "And now?", "Well"]
        tab.reload()
        assert tab.until_shown("(upstream_disconnected)", status="idle").splitlines() == shown


def test_a_person_approves_in_the_page(nursery: Nursery, origin: str, browser: Chrome, asking: dict[str, str]) -> None:
    """The card returns after a reload; its arguments are changed, refused by the tool, and approved."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, **asking) as app:
        fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        fake.turn(*answer("Deleted."))
        tab = Tab(browser, origin, "chat", baseUrl=app.url, sessionId="chat-1")
        tab.ask("Tidy up.")
        assert "May the agent call delete_folder?" in tab.card()
        tab.reload()
        assert "May the agent call delete_folder?" in tab.card()
        if screenshot := os.environ.get("SCREENSHOT_CARD"):
            browser.save_screenshot(screenshot)
        tab.type_arguments('{"file": "x"}')
        tab.press("Approve")
        tab.until_alert("folder")
        tab.type_arguments('{"folder": "spam"}')
        tab.press("Approve")
        assert tab.until_shown("Deleted.", status="succeeded") == "Tidy up.\nDeleted."
        assert fake.chats[1].body["messages"][-1]["content"].endswith("\ndeleted spam")


def test_a_person_refuses_in_the_page(nursery: Nursery, origin: str, browser: Chrome, asking: dict[str, str]) -> None:
    """The model receives the refusal, and the card disappears."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake, **asking) as app:
        fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        fake.turn(*answer("Then not."))
        tab = Tab(browser, origin, "chat", baseUrl=app.url)
        tab.ask("Tidy up.")
        tab.card()
        tab.press("Deny")
        assert tab.until_shown("Then not.", status="succeeded") == "Tidy up.\nThen not."
        assert not browser.find_elements(By.TAG_NAME, "section")
        assert fake.chats[1].body["messages"][-1]["content"].startswith("A person denied this call.")


def test_a_person_doubles_a_budget(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """A run whose budget is too small for an answer has a card, and answers once the budget is doubled there."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*answer("Aye."))
        asked = {"input": "Compare.", "session_id": "chat-1", "max_total_tokens": 20}
        httpx.post(f"{app.url}/api/agent/runs", json=asked, trust_env=False).raise_for_status()
        tab = Tab(browser, origin, "chat", baseUrl=app.url, sessionId="chat-1")
        assert "The budget is spent: 0 tokens." in tab.card()
        tab.press("Double it")
        assert tab.until_shown("Aye.", status="succeeded") == "Compare.\nAye."
        assert not browser.find_elements(By.TAG_NAME, "section")


def test_a_page_s_tool_is_not_called_again_after_a_reload(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """A call that the reload interrupted is an error to the model; it is made once."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*calling("locate"))
        fake.turn(*answer("I don't know."))
        tab = Tab(browser, origin, "chat", baseUrl=app.url, sessionId="chat-1", tool="locate")
        tab.script("localStorage.clear()")
        tab.ask("Where am I?")
        tab.until(lambda: tab.script("return localStorage.length"))
        tab.reload()
        tab.until_shown("I don't know.", status="succeeded")
        assert tab.script("return localStorage.length") == 1
        assert [tool["function"]["name"] for tool in fake.chats[0].body["tools"]] == ["locate"]
        assert "The page was reloaded" in fake.chats[1].body["messages"][-1]["content"]


def test_a_call_of_a_page_that_is_gone(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """Another page of the session says what the run waits for, and makes the call if a person asks for it."""
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*calling("locate"))
        fake.turn(*answer("In Bergen."))
        tab = Tab(browser, origin, "chat", baseUrl=app.url, sessionId="chat-1", tool="locate")
        tab.script("localStorage.clear()")
        tab.ask("Where am I?")
        tab.until(lambda: tab.script("return localStorage.length"))
        assert not browser.find_elements(By.TAG_NAME, "section")
        tab.close()
        other = Tab(browser, origin, "chat", baseUrl=app.url, sessionId="chat-1", tool="locate", result="Bergen")
        assert "The page that asked has to run locate." in other.card()
        other.press("Run it here")
        assert other.until_shown("In Bergen.", status="succeeded") == "Where am I?\nIn Bergen."
        assert fake.chats[1].body["messages"][-1]["content"] == "Bergen"


OBSERVE = """
window.longTasks = 0;
window.renders = 0;
new PerformanceObserver((list) => (window.longTasks += list.getEntries().length)).observe({ entryTypes: ["longtask"] });
const everything = { subtree: true, characterData: true, childList: true };
new MutationObserver(() => (window.renders += 1)).observe(document.querySelector("main"), everything);
"""


def main_thread_s(tab: Tab) -> float:
    """The CPU time of the page's main thread, in seconds."""
    metrics = tab.command("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


def test_ten_thousand_tokens(nursery: Nursery, origin: str, browser: Chrome) -> None:
    """An answer of a thousand tokens a second keeps the page responsive: no task of 50 ms.

    On a busy machine a task lasts longer than it computes. So the CPU time is bounded, and few tasks may last that
    long.
    """
    bursts = [step for _ in range(1000) for step in (Text(*["tokens "] * 10), Pause(0.01))]
    with FakeDedalus.in_thread() as fake, service(nursery, origin, fake) as app:
        fake.turn(*bursts, Finish("stop"), Done())
        tab = Tab(browser, origin, "chat", baseUrl=app.url)
        tab.command("Performance.enable", timeDomain="threadTicks")
        tab.script(OBSERVE)
        before = main_thread_s(tab)
        tab.ask("Go on.")
        tab.until_shown("tokens", status="succeeded")
        long_tasks, renders = tab.script("return [window.longTasks, window.renders]")
        assert tab.shown().count("tokens") == 10_000
        assert (main_thread_s(tab) - before) / renders < 0.025
        assert long_tasks < renders / 10


def test_the_app_has_no_lint(origin: str) -> None:
    """The hook has no warning of Next.js' own ESLint rules. The build has checked its types, which are strict."""
    next_app.HOOK_APP.run(next_app.ESLINT, "--max-warnings", "0")
