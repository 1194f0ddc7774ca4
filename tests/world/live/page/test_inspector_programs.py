"""The programs that the inspector writes for a request: curl, fetch, React and Python. Each is run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from node import TYPESCRIPT, run
from process import ROOT, Nursery, forked_app
from wire import answer

pytest_plugins = "node_fixtures"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine installs the packages

STREAM = "/api/agent/stream"
SIMULATE = "/api/agent/stream/simulate"
GENERATE = Path(__file__).with_name("programs.mjs")
HOSTILE = "\n".join(
    (
        'It\'s "quoted" in `ls` and $(id) and ${HOME} and $HOME!! \\ \\\' \\" \\n %s %% # ; & | > /dev/null',
        "first\nJSON\nEOF\n'''\n\"\"\"\n```\n",
        "</script><script>alert(1)</script> {a: 1} ${1 + 1} \u2028 \u2029 \x7f \t tab 🎉 Zoë \u202e rtl",
        "-d @/etc/passwd --output x",
        "True None null undefined __proto__",
    )
)
REQUESTS: list[dict[str, Any]] = [
    {"input": HOSTILE},
    {
        "input": [
            {"type": "text", "text": HOSTILE},
            {"type": "image", "url": "data:image/png;base64," + "A" * 200_000},
        ],
        "model": "test/model",
        "session_id": "chat-1",
        "instructions": HOSTILE,
        "temperature": 0.25,
        "max_tokens": 100,
        "on_disconnect": "continue",
        "multitask": "enqueue",
        "stop": ["\n\n", "'"],
        "metadata": {"__proto__": "a", "a-b": HOSTILE[:400], "constructor": ""},
    },
]
SCRIPTED = {"input": "Well?", "scenario": "default", "delay_ms": 0}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeDedalus]:
    with FakeDedalus.in_thread() as fake:
        fake.always(*answer("Hello world"))
        yield fake


@pytest.fixture(scope="module")
def url(nursery: Nursery, fake: FakeDedalus) -> Iterator[str]:
    with forked_app(nursery, DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="test/model") as service:
        yield service.url


@pytest.fixture(scope="module")
def programs(node: Path, url: str) -> list[dict[str, str]]:
    """The programs of each request, and of a scripted one at the end."""
    asked = [{"baseUrl": url, "path": STREAM, "body": body} for body in REQUESTS]
    asked.append({"baseUrl": f"{url}/", "path": SIMULATE, "body": SCRIPTED})
    made: list[dict[str, str]] = json.loads(run(node, GENERATE, stdin=json.dumps(asked)))
    return made


def execute(title: str, text: str, node: Path, directory: Path) -> str:
    """Run a program as a user would, and return its output."""
    command, name = {
        "curl": (["sh"], "ask.sh"),
        "fetch": ([str(node)], "ask.mjs"),
        "Python": ([sys.executable], "ask.py"),
    }[title]
    program = directory / name
    program.write_text(text)
    env = os.environ | {"PYTHONPATH": str(ROOT / "clients/python"), "PYTHONUTF8": "1"}
    done = subprocess.run([*command, program], cwd=directory, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def asked_of(fake: FakeDedalus) -> list[Any]:
    """Return the messages that the model was sent: the instructions, if there are any, and the last question."""
    messages = fake.chats[-1].body["messages"]
    return [message["content"] for message in messages if message["role"] == "system"] + [messages[-1]["content"]]


def expected_of(request: dict[str, Any]) -> list[Any]:
    question = request["input"]
    if not isinstance(question, str):
        text, image = question
        question = [text, {"type": "image_url", "image_url": {"url": image["url"]}}]
    return [*([request["instructions"]] if "instructions" in request else []), question]


@pytest.mark.parametrize("place", range(len(REQUESTS)))
@pytest.mark.parametrize("title", ["curl", "fetch", "Python"])
def test_a_program_asks_the_question_as_it_was(
    programs: list[dict[str, str]], fake: FakeDedalus, node: Path, tmp_path: Path, title: str, place: int
) -> None:
    """Quotes, line ends, shell syntax, images and large bodies reach the model unchanged, and the answer is printed."""
    shown = execute(title, programs[place][title], node, tmp_path)
    assert asked_of(fake) == expected_of(REQUESTS[place])
    assert "Hello world" in shown


@pytest.mark.parametrize("title", ["curl", "fetch", "Python"])
def test_a_program_of_a_scripted_answer(programs: list[dict[str, str]], node: Path, tmp_path: Path, title: str) -> None:
    """The script of /stream/simulate is played."""
    assert "light snow" in execute(title, programs[-1][title], node, tmp_path)


def test_the_react_programs_are_typed(programs: list[dict[str, str]], node: Path, tmp_path: Path) -> None:
    """Each component compiles in strict mode with the package's types."""
    for place, texts in enumerate(programs):
        (tmp_path / f"chat{place}.tsx").write_text(texts["React"])
    settings = {
        "extends": str(TYPESCRIPT / "tsconfig.json"),
        "compilerOptions": {"typeRoots": [str(TYPESCRIPT / "node_modules/@types")]},
        "include": [str(tmp_path / "*.tsx")],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings))
    run(node, TYPESCRIPT / "node_modules/.bin/tsc", "--project", tmp_path)
