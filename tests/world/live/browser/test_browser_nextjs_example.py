"""The chat of `examples/nextjs` in its production build: driven in Chromium, and its route by a plain client."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import next_app
import pytest
from browser import open_tab
from fake_dedalus import FakeDedalus
from lossy_proxy import line_to
from process import Nursery, Process
from raw_servers import Connection, serving
from selenium.webdriver import Chrome, Keys
from shown_page import ShownPage
from tabs import service
from wire import (
    Cut,
    Done,
    Finish,
    Gate,
    Pause,
    Text,
    Thinking,
    UsageChunk,
    answer,
    calling,
    halved,
)

pytest_plugins = "browser_fixtures"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine builds the app

MARKDOWN = """## Tides

The **Moon** pulls the sea, and [so does the Sun](https://example.org). ![spy](https://example.org/spy.png)

| body | share |
|---|--:|
| Moon | 69 % |
| Sun | 31 % |

```python
def share(moon: float) -> str:
    return f"{moon:.0%}"  # of both
```

<img src=x onerror="document.title = 'broken in'">
"""
CHAT = "article[aria-label=Agent]"
STREAM = "/api/agent/stream"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeDedalus]:
    with FakeDedalus.in_thread() as fake:
        yield fake


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module of tools: `weather`, and `delete_folder`, which waits for a person."""
    folder = tmp_path_factory.mktemp("tools")
    (folder / "page_tools.py").write_text(
        "from tools import tool\n\n\n@tool(approval=True)\ndef delete_folder(folder: str) -> str:\n"
        '    """Delete a folder."""\n    return f"deleted {folder}"\n\n\n'
        '@tool\ndef weather(city: str) -> str:\n    """The weather."""\n    return f"3 °C in {city}"\n'
    )
    return folder


@pytest.fixture(scope="module")
def app(nursery: Nursery, fake: FakeDedalus, tools: Path) -> Iterator[Process]:
    """The service. Another origin may not call it: the page's requests come from the server of the chat."""
    settings = {"AGENT_TOOLS": "page_tools", "PYTHONPATH": str(tools), "TOOLS_BY_DEFAULT": "all"}
    with service(nursery, "https://example.org", fake, DISCONNECT_GRACE_S="1", **settings) as app:
        yield app


@pytest.fixture(scope="module")
def chat_url(app: Process) -> Iterator[str]:
    next_app.CHAT_APP.build()
    with next_app.CHAT_APP.served("start", AGENT_STREAM_URL=f"{app.url}/") as url:
        yield url


@pytest.fixture
def page(browser: Chrome, chat_url: str, fake: FakeDedalus) -> ShownPage:
    fake.forget()
    open_tab(browser)
    page = ShownPage(browser, chat_url).size(1280).theme("light").open()
    page.until(lambda: page.focused() == "Your question")  # React has taken over the page that the server rendered
    return page


def picture(page: ShownPage, name: str) -> None:
    """Keep a screenshot if SCREENSHOTS names a folder."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.browser.save_screenshot(f"{folder}/{name}.png")


def test_an_answer_with_thinking_and_a_tool_call(page: ShownPage, fake: FakeDedalus) -> None:
    """The parts of an answer are shown in order: thinking with its seconds, a call with its result, safe markdown."""
    fake.turn(Thinking("The sea "), Pause(1.1), Thinking("moves."), *calling("weather", '{"city": "Oslo"}'))
    fake.turn(Text(MARKDOWN), Finish("stop"), UsageChunk(80, 42, 122), Done())
    picture(page, "next-empty")
    page.ask("What makes the tides?")
    page.until_shown("122 tokens · $0.00062 · 1.", CHAT)
    thought, call = page.texts(f"{CHAT} summary")
    assert thought.startswith("Thought for 1.")
    assert 'weather\n{"city":"Oslo"}' in call
    page.browser.find_elements("css selector", f"{CHAT} summary")[1].click()
    page.until_shown("3 °C in Oslo", f"{CHAT} details[open]")
    assert page.texts(f"{CHAT} td") == ["Moon", "69 %", "Sun", "31 %"]
    assert page.texts(f"{CHAT} .hljs-keyword") == ["def", "return"]
    assert page.texts(f"{CHAT} a") == ["so does the Sun", "spy"]
    assert "onerror" in page.texts(CHAT)[0]
    assert not page.has(f"{CHAT} img")
    picture(page, "next-answer")


def test_a_reload_loses_nothing(page: ShownPage, fake: FakeDedalus) -> None:
    """The URL has the session. Reloaded while the answer streams, the page continues it, from one request."""
    gate = Gate()
    fake.turn(*halved(gate))
    page.ask("Count.")
    page.until_shown("one", CHAT)
    assert page.query().startswith("?session=chat-")
    page.reload()
    page.until_shown("one", CHAT)
    page.control("Stop (Esc)")
    gate.open()
    page.until_shown("one two", CHAT)
    page.until_shown("Count.", "nav")
    page.reload()
    page.until_shown("one two", CHAT)
    assert len(fake.chats) == 1


def test_approval(page: ShownPage, fake: FakeDedalus) -> None:
    """A call waits through a reload, and is made with the arguments that a person has changed."""
    fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
    fake.turn(*answer("Deleted."))
    page.ask("Tidy up.")
    page.until_shown("May the agent call delete_folder?")
    picture(page, "next-approval")
    page.reload()
    field = page.control("Arguments of delete_folder")
    field.send_keys(Keys.CONTROL, "a")  # `clear` makes no `input` event, so React's next render restored the text
    field.send_keys('{"folder": "spam"}')
    page.press("Approve with changes")
    page.until_shown("Deleted.", CHAT)
    assert fake.chats[1].body["messages"][-1]["content"].endswith("\ndeleted spam")
    assert not page.has("textarea[aria-label^=Arguments]")


def test_a_budget(page: ShownPage, app: Process, chat_url: str, fake: FakeDedalus) -> None:
    """A run whose budget is spent is shown with what to decide, and answers once it is raised."""
    fake.turn(*answer("Aye."))
    asked = {"input": "Compare.", "session_id": "chat-budget", "max_total_tokens": 5}
    httpx.post(f"{app.url}/api/agent/runs", json=asked, trust_env=False).raise_for_status()
    page.browser.get(f"{chat_url}/agent?session=chat-budget")
    page.until_shown("0 of 5 tokens spent.")
    picture(page, "next-budget")
    field = page.element("input[name=max_total_tokens]")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("5000", Keys.ENTER)
    page.until_shown("Aye.", CHAT)
    assert not page.has("input[name=max_total_tokens]")


def test_stop_and_retry(page: ShownPage, fake: FakeDedalus) -> None:
    """Escape stops the model and keeps the text. A failed answer has a button to try again, and both are kept."""
    gate = Gate()
    fake.turn(*halved(gate))
    page.ask("Count.")
    page.until_shown("one", CHAT)
    page.keys(Keys.ESCAPE)
    page.until_shown("You stopped this answer.", CHAT)
    fake.turn(Text("Well "), Cut())
    page.ask("And now?")
    page.until_shown("upstream_disconnected", "[role=alert]")
    picture(page, "next-failed")
    fake.turn(*answer("Better."))
    page.press("Try again")
    page.until_shown("Better.", CHAT)
    page.until_shown("2/2", "article")
    page.press("Earlier version")
    page.until_shown("Well", CHAT)


def written(page: ShownPage) -> str:
    """Return the text in the field for a question."""
    return str(page.element("#question").get_property("value"))


def test_a_refused_question_comes_back(page: ShownPage, app: Process, fake: FakeDedalus) -> None:
    """A question that is refused, because another page asks in the session meanwhile, is back in its field."""
    fake.turn(*answer("Aye."))
    page.ask("First?")
    page.until_shown("Aye.", CHAT)
    [session] = httpx.get(f"{app.url}/api/agent/sessions?limit=1").json()["sessions"]
    gate = Gate()
    fake.turn(*halved(gate))
    elsewhere = {"input": "Elsewhere?", "session_id": session["session_id"]}
    httpx.post(f"{app.url}/api/agent/runs", json=elsewhere).raise_for_status()
    page.ask("Mine?")
    page.until_shown("still being answered", "[role=alert]")
    page.until(lambda: written(page) == "Mine?")
    gate.open()
    page.until(lambda: any("one two" in text for text in page.texts(CHAT)))
    assert written(page) == "Mine?"


def test_a_stopped_question_of_an_outage_comes_back(browser: Chrome, app: Process, fake: FakeDedalus) -> None:
    """The page tries to ask while its server can't reach the service. Escape puts the question back into its field."""
    fake.forget()
    fake.turn(*halved(Gate()))
    with line_to(app.url) as line, next_app.CHAT_APP.served("start", AGENT_STREAM_URL=line.url) as url:
        open_tab(browser)
        page = ShownPage(browser, url).open()
        page.until(lambda: page.focused() == "Your question")
        line.cut()
        page.ask("Are you there?")
        page.until_shown("does not respond", "[role=alert]")
        page.keys(Keys.ESCAPE)
        page.until(lambda: written(page) == "Are you there?")
        page.until_shown("Stopping", "[role=status]")
        line.restore()
        page.until_shown("Stopped", "[role=status]")
        [run] = httpx.get(f"{app.url}/api/agent/runs?limit=1").json()["runs"]
        assert run["status"] == "cancelled"


def test_keys_of_the_field(page: ShownPage, fake: FakeDedalus) -> None:
    """Shift+Enter begins a line, and Enter sends the question."""
    fake.turn(*answer("Yes."))
    page.keys("One")
    page.chord(Keys.SHIFT, Keys.ENTER)
    page.keys("two", Keys.ENTER)
    page.until_shown("Yes.", CHAT)
    assert fake.chats[0].body["messages"][-1]["content"] == "One\ntwo"
    assert page.focused() == "Your question"


def test_sessions(page: ShownPage, fake: FakeDedalus) -> None:
    """Sessions are listed, opened, renamed and deleted; a new one begins empty, and Back returns to the one before."""
    fake.always(*answer("Aye."))
    page.ask("First")
    page.until_shown("First", "nav")
    page.press("New chat")
    page.until_shown("What can I do for you?")
    page.ask("Second")
    page.until_shown("Second", "nav li:first-child")
    page.follow("First")
    page.until_shown("First", "article")
    page.browser.back()
    page.until_shown("Second", "article")
    page.focus("nav [aria-current]")
    page.press("Rename Second")
    page.keys("Renamed", Keys.ENTER)
    page.until_shown("Renamed", "h1")
    page.focus("nav [aria-current]")
    page.press("Delete Renamed")
    page.press("Delete")
    page.until_shown("What can I do for you?")
    page.until(lambda: "Renamed" not in page.text())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_themes_and_widths(page: ShownPage, fake: FakeDedalus, theme: str, width: int) -> None:
    """In both themes, on a phone and on a desk: axe-core finds nothing, and nothing is wider than the window."""
    page.theme("dark" if theme == "dark" else "light").size(width, 844)
    assert page.findings() == []
    fake.turn(Thinking("Hm."), Text(MARKDOWN), *calling("delete_folder", '{"folder": "drafts"}'))
    page.ask("What makes the tides?")
    page.until_shown("May the agent call delete_folder?")
    picture(page, f"next-{theme}-{width}")
    assert page.findings() == []
    assert page.browser.execute_script("return document.documentElement.scrollWidth") == width
    colour = page.browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 21, 26)"}[theme]


def test_the_drawer(page: ShownPage, fake: FakeDedalus) -> None:
    """On a phone the chats are in a drawer, which gets the focus, and which Escape closes."""
    fake.turn(*answer("Aye."))
    page.ask("In the drawer")
    page.until_shown("Aye.", CHAT)
    page.size(390, 844)
    assert not page.has("nav")
    page.press("Show the chats")
    page.until(lambda: page.has("nav") and page.focused() == "Your chats")
    picture(page, "next-drawer")
    page.keys(Keys.ESCAPE)
    page.until(lambda: not page.has("nav"))
    assert page.focused() == "Show the chats"


def test_nothing_loads_from_another_host(page: ShownPage, chat_url: str) -> None:
    """The page needs no font, script or image of another host, and the console has no error."""
    script = "return performance.getEntriesByType('resource').map(({ name }) => name)"
    loaded = page.browser.execute_script(script)
    assert loaded
    assert [name for name in loaded if not name.startswith(chat_url)] == []
    assert page.console() == []


def until(lines: Iterator[str], wanted: str) -> None:
    """Read to the line that has the text."""
    read = []
    for line in lines:
        read.append(line)
        if wanted in line:
            return
    raise AssertionError("\n".join(read))


def test_the_route_holds_nothing_back(chat_url: str, fake: FakeDedalus) -> None:
    """An event passes through the route while the model still writes, and a resumed stream has only the rest."""
    fake.forget()
    gate = Gate()
    fake.turn(*halved(gate))
    with httpx.stream("POST", f"{chat_url}{STREAM}", json={"input": "Count."}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in response.headers
        run_id = response.headers["x-run-id"]
        lines = response.iter_lines()
        until(lines, '"content":"one "')
        gate.open()
        until(lines, '"event":"complete"')
    events = f"{chat_url}/api/agent/runs/{run_id}/events"
    rest = httpx.get(events, headers={"Last-Event-ID": "3"}).text
    assert "id: 4\n" in rest
    assert "id: 3\n" not in rest


def test_a_page_that_leaves(chat_url: str, app: Process, fake: FakeDedalus) -> None:
    """When the client leaves, the route closes its connection to the service, so that the run is cancelled."""
    fake.forget()
    fake.turn(*halved(Gate()))
    with httpx.stream("POST", f"{chat_url}{STREAM}", json={"input": "Count."}) as response:
        run_id = response.headers["x-run-id"]
        until(response.iter_lines(), '"content":"one "')
    fake.wait_closed_sync(fake.chats[0].connection)
    events = httpx.get(f"{app.url}/api/agent/runs/{run_id}/events").text
    assert '"status":"cancelled"' in events


@pytest.mark.anyio
async def test_the_route_keeps_the_key() -> None:
    """The route adds the key, and passes on only the headers that belong to the interface."""
    answered = (
        b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nX-Run-ID: run_1\r\nSet-Cookie: a=b\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )

    async def refuse(connection: Connection) -> None:
        while await connection.request():
            await connection.say(answered)

    async with serving(refuse) as upstream:
        address = f"http://127.0.0.1:{upstream.port}"
        next_app.CHAT_APP.build()
        with next_app.CHAT_APP.served("start", AGENT_STREAM_URL=address, AGENT_STREAM_KEY="secret") as url:
            async with httpx.AsyncClient(base_url=url, cookies={"login": "mine"}) as client:
                sent = {"Last-Event-ID": "4", "Idempotency-Key": "k", "Authorization": "Bearer mine"}
                response = await client.get("/api/agent/runs/a%2Fb/events?wait=false", headers=sent)
                outside = await client.get("/api/agent/runs/..%2f..%2f/health")
                foreign = await client.get("/api/agent/runs", headers={"Sec-Fetch-Site": "cross-site"})
    head, *others = upstream.heads
    lines = head.lower().split("\r\n")
    assert lines[0] == "get /api/agent/runs/a%2fb/events?wait=false http/1.1"
    assert {"authorization: bearer secret", "last-event-id: 4", "idempotency-key: k"} <= set(lines)
    assert "cookie" not in head.lower()
    assert (response.status_code, response.headers["retry-after"], response.headers["x-run-id"]) == (429, "7", "run_1")
    assert "set-cookie" not in response.headers
    assert foreign.status_code == 403
    assert outside.status_code in {404, 429}
    assert all(" /api/agent/" in each for each in others)


def test_a_service_that_is_not_there(chat_url: str) -> None:
    """Without the service, the route reports an error that the page retries."""
    with next_app.CHAT_APP.served("start", AGENT_STREAM_URL="http://127.0.0.1:9") as url:
        response = httpx.get(f"{url}/api/agent/models")
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["retryable"]) == (503, "service_unreachable", True)


def test_it_has_no_lint(chat_url: str) -> None:
    """The example has no warning of Next.js' own ESLint rules. The build has checked its types, which are strict."""
    next_app.CHAT_APP.run(next_app.ESLINT, "--max-warnings", "0")
