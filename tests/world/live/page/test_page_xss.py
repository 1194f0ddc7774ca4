"""Nothing that a model, a tool or an upstream sends runs in the page, is fetched by it, or makes a foreign element."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from fake_dedalus import FakeDedalus
from page_service import page_app
from payloads import SCRIPTS, payloads
from process import Nursery, Process
from shown_page import ShownPage
from wire import Done, Finish, RawChunk, Status, Step, Text, Thinking, ToolCall, Usage, answer

pytest_plugins = "page_fixtures"

STRANGERS = (Path(__file__).parent / "strangers.js").read_text()
UNFOLD = """
const folds = Array.from(document.querySelectorAll(".structured details:not([open])"));
for (const fold of folds) fold.open = true;
return folds.length === 0;
"""
TOOLS = '''
from tools import ToolContext, ToolError, tool


@tool
def echo(text: str, context: ToolContext) -> str:
    """Return the text."""
    context.progress(text)
    return text


@tool
def fail(text: str) -> str:
    """Fail with the text."""
    raise ToolError(text)


@tool(approval=True)
def guarded(text: str) -> str:
    """Return the text after an approval."""
    return text
'''


@pytest.fixture(scope="module")
def app(nursery: Nursery, shared_fake: FakeDedalus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A service with tools that repeat their argument: as a result, a progress, an error and a call for approval."""
    with page_app(nursery, shared_fake, tmp_path_factory.mktemp("tools"), TOOLS, TOOLS_BY_DEFAULT="all") as app:
        yield app


class Collector(ThreadingHTTPServer):
    """A server that nothing may ask. It notes the paths that are asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Collecting)
        self.paths: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Collecting(BaseHTTPRequestHandler):
    server: Collector

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield server
        server.shutdown()


@pytest.fixture
def texts(collector: Collector) -> list[str]:
    return payloads(collector.url)


def check(page: ShownPage, collector: Collector) -> None:
    """Nothing ran, nothing was fetched, nothing was refused by the policy, and no element is foreign."""
    page.browser.execute_script(STRANGERS)
    assert page.browser.execute_script("return window.strangersIn(document.body)") == []
    assert page.browser.execute_script("return window.pwned") is None
    assert collector.paths == []
    not_found = "(Not Found)"  # the list of chats asks for the shown one, which a first question only just creates
    assert [line for line in page.console() if not_found not in line] == []


def open_all(page: ShownPage) -> None:
    """Unfold each thought and tool call."""
    page.browser.execute_script("for (const fold of document.querySelectorAll('[role=log] details')) fold.open = true")


def pieces(texts: list[str], size: int = 7) -> list[str]:
    """The texts as paragraphs of one answer, in pieces of this many characters."""
    whole = "\n\n".join(texts)
    return [whole[start : start + size] for start in range(0, len(whole), size)]


def test_a_text_that_is_cut_anywhere_draws_only_markup(page: ShownPage, collector: Collector, texts: list[str]) -> None:
    """Each text is drawn after each of its characters. Scripts are shown as their source, so nothing is hidden."""
    page.open()
    page.browser.execute_script(STRANGERS)
    result = page.browser.execute_async_script("window.stream(...arguments)", texts)
    assert result["wrong"] == []
    for source, shown in zip(SCRIPTS, result["shown"], strict=False):
        assert "".join(shown.split()) == "".join(source.replace("http://collector", collector.url).split())
    check(page, collector)


def test_answers_and_thinking(page: ShownPage, fake: FakeDedalus, collector: Collector, texts: list[str]) -> None:
    """A streamed answer and its thinking have all texts, also after a reload, when they come from the session."""
    fake.turn(Thinking(*pieces(texts)), Text(*pieces(texts), "\n\nThe end."), Finish("stop"), Done())
    page.open().ask("\n".join(texts[:5]).replace("\n", " "))
    page.until_shown("The end.", "[role=log]")
    for _ in range(2):
        open_all(page)
        page.until_shown("toString hasOwnProperty", "[role=log] details")
        check(page, collector)
        page.reload()
        page.until_shown("The end.", "[role=log]")


def unfolded(page: ShownPage) -> bool:
    """Unfold what is folded in the structured answer now, and return whether nothing was."""
    return bool(page.browser.execute_script(UNFOLD))


def test_structured_answers(page: ShownPage, fake: FakeDedalus, collector: Collector, texts: list[str]) -> None:
    """The tree of a value, and its JSON, show names and texts as text, also after a reload."""
    value = {"entries": [{text: [text, {"deep": text}]} for text in texts]}
    fake.turn(*answer(json.dumps(value)))
    page.open().choose(output_schema={"type": "object", "required": ["entries"]})
    page.ask("Which?")
    for _ in range(2):
        page.element(".structured summary")
        page.until(lambda: unfolded(page), "everything unfolded")
        assert "toString hasOwnProperty" in page.texts(".structured .json-name")
        check(page, collector)
        page.reload()


def test_sources(page: ShownPage, fake: FakeDedalus, collector: Collector, texts: list[str]) -> None:
    """Titles and URLs of cited pages are shown as text, and only pages of the web are linked."""
    cited = [{"url": f"https://example.org/{place}", "title": text} for place, text in enumerate(texts)]
    cited += [{"url": text, "title": "Unsafe"} for text in texts]
    annotations = [{"type": "url_citation", "url_citation": citation} for citation in cited]
    chunk = RawChunk({"choices": [{"index": 0, "delta": {"annotations": annotations}}]})
    fake.turn(Text("See there."), chunk, Finish("stop"), Done())
    page.open().ask("Where?")
    page.control("Send")
    links = page.texts(".cited-pages a")
    assert "toString hasOwnProperty" in links
    check(page, collector)


def calling(*named: tuple[str, dict[str, str]]) -> list[Step]:
    """A model's turn with these calls: the name and the arguments of each."""
    steps = [
        ToolCall(f"call_{place}", name, *pieces([json.dumps(arguments)]), index=place)
        for place, (name, arguments) in enumerate(named)
    ]
    return [*steps, Finish("tool_calls"), Done()]


def test_tool_calls(page: ShownPage, fake: FakeDedalus, collector: Collector, texts: list[str]) -> None:
    """Names, arguments, progress, results and errors of calls are shown as text."""
    everything = {"text": "\n".join(texts)}
    fake.turn(*calling(("echo", everything), ("fail", everything)))
    fake.turn(*calling(*[(text, {text: text}) for text in texts]))
    fake.turn(*answer("The end."))
    page.open().ask("Call them all")
    page.until_shown("The end.", "[role=log]")
    open_all(page)
    page.until_shown("toString hasOwnProperty", "[role=log] .tool-details")
    check(page, collector)


def test_a_call_that_waits_for_approval(
    page: ShownPage, fake: FakeDedalus, collector: Collector, texts: list[str]
) -> None:
    """The dock shows arguments in a text field, with escapes for characters that can't be seen."""
    fake.turn(*calling(("guarded", {"text": "\n".join(texts)})))
    page.open().ask("Call it")
    shown = page.element(".dock textarea").get_attribute("value")
    assert shown is not None
    assert json.loads(shown) == {"text": "\n".join(texts)}
    assert r"\u202ecod.exe\u202c" in shown
    check(page, collector)


def test_a_budget_that_is_spent(page: ShownPage, fake: FakeDedalus, collector: Collector, texts: list[str]) -> None:
    """The dock asks for a larger budget below an answer that has all texts. Then the run fails in place."""
    call = calling(("echo", {"text": "\n".join(texts)}))
    fake.turn(Text(*pieces(texts)), *call[:-2], Finish("tool_calls", Usage(4_000, 900, 4_900)), Done())
    page.open().choose(max_total_tokens=5_000)
    page.ask(texts[0])
    page.control("Raise the budget")
    open_all(page)
    check(page, collector)
    page.press("End the run")
    page.until_shown("budget_exceeded", ".failure")
    check(page, collector)


@pytest.mark.parametrize("place", range(0, 90, 30))
def test_errors(page: ShownPage, fake: FakeDedalus, collector: Collector, texts: list[str], place: int) -> None:
    """An error of the upstream is shown without what the upstream has said."""
    fake.turn(Status(400, {"error": {"message": texts[place], "type": texts[place + 1], "code": texts[place + 2]}}))
    page.open().ask("Fail")
    page.element(".failure")
    check(page, collector)


def test_titles(page: ShownPage, collector: Collector, texts: list[str]) -> None:
    """Titles of sessions are shown as text, in the list and above the chat."""
    for place, text in enumerate(texts[-30:]):
        body = {"session_id": f"titled-{place}", "title": text[:200]}
        assert httpx.post(f"{page.url}/api/agent/sessions", json=body).is_success
    page.open("?session=titled-29")
    page.until_shown(texts[-1], "nav")
    page.until_shown(texts[-1], "header")
    check(page, collector)
