"""Tests that the documents are correct: each of their commands is run, and each event, route and code is in them."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import client_programs
import document_commands
import httpx
import pytest
from client_programs import Service, at_terminal
from document_commands import DOCUMENTS, INSTALLS, SERVICE, installing
from grammar import parse_frames
from process import LISTENING, MODEL_LOADED, ROOT, Nursery, Process, forked_app
from scripted_gguf import TOOL_TEMPLATE, write_model
from service import checked, settings
from wire import Json

from app import create_app
from errors import every_error
from event_data import WarningCode
from events import EVENT_TYPES, STREAM_EVENT
from models import AgentRequest, SimulateRequest
from services.agents.tool_runner import NO_REASON
from services.upstreams.providers import BY_BASE_URL, PROVIDERS
from services.upstreams.wire_rules import EMPTY_RESULT
from setting_objects import WireRules
from settings import Settings

pytest_plugins = "client_fixtures"

TRANSCRIPTS = ("README.md", "docs/events.md")
ENVELOPE = ',"run_id":"run_1","seq":1,"timestamp":"2026-11-27T22:13:40.206Z"}'
PYTHON = ".venv/bin/python"


class Command(NamedTuple):
    """A command of a document, and the port that replaces the one in it."""

    document: str
    text: str


def commands() -> list[Command]:
    """Return each command once, even if several documents have it. Those that install packages are tested elsewhere."""
    found = [Command(document, text) for document in DOCUMENTS for text in document_commands.commands(document)]
    once = {command.text: command for command in reversed(found)}
    return [command for command in once.values() if not INSTALLS.search(command.text)]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[Process]:
    """A service started as the documents say, with the tool of the README and a small embedded model."""
    tools = tmp_path_factory.mktemp("tools")
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    (tools / "dice.py").write_text(code[1])
    write_model(tools / "model.gguf", TOOL_TEMPLATE)
    own = {"PYTHONPATH": str(tools), "AGENT_TOOLS": "dice", "EMBEDDED_MODEL": str(tools / "model.gguf")}
    with forked_app(nursery, **own) as app:
        app.says(MODEL_LOADED)
        yield app


@contextmanager
def served(command: str, **environment: str) -> Iterator[str]:
    """Start what a document's command serves, on a free port. Only its own process is ended."""
    outside = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    process = subprocess.Popen(
        shlex.split(command), cwd=ROOT, env=outside | {"PORT": "0", "PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := LISTENING.search(line) or re.search(r"Serving HTTP on .*\((http://[^/]+)", line):
                yield found[1]
                return
        raise AssertionError(f"{command} serves nothing")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def run(command: str, *, cwd: Path = ROOT, **environment: str) -> str:
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def run_program(command: str, url: str) -> str:
    """Run a command of the client or of an example, forked from a process that has imported it. Return its output."""
    program = client_programs.run(*shlex.split(command)[1:], url=url)
    assert program.code == 0, f"{command}\n{program.out}{program.err}"
    return program.out


def simulated(url: str, scenario: str = "default") -> Json:
    """Start a scripted run, read it to its end or its wait, and return its record."""
    response = httpx.post(
        f"{url}/api/agent/stream/simulate?until=waiting", json={"input": "?", "scenario": scenario, "delay_ms": 0}
    )
    run_id = parse_frames(response.content)[0]["run_id"]
    record: Json = httpx.get(f"{url}/api/agent/runs/{run_id}").json()
    return record


def timeless(record: Json) -> Json:
    """Return a run's record without its times. One that is made from the log again has those of its events."""
    return {name: value for name, value in record.items() if name not in ("created_at", "finished_at")}


def check_backup(command: str, nursery: Nursery, folder: Path) -> None:
    """Run a backup command on a service's data, start on the copy, and find the runs unchanged."""
    without_a_model = {"EMBEDDED_MODEL": "off"}
    with forked_app(nursery, DATA_DIR=str(folder / "data"), **without_a_model) as app:
        runs = [simulated(app.url), simulated(app.url, "approval")]
        if "kill" not in command:
            app.send_signal(signal.SIGTERM)
            app.wait(10)
        run(command, cwd=folder, pid=str(app.pid))
    with forked_app(nursery, DATA_DIR=str(folder / "backup"), **without_a_model) as restored:
        assert [run["status"] for run in runs] == ["succeeded", "waiting"]
        for run_before in runs:
            run_after = httpx.get(f"{restored.url}/api/agent/runs/{run_before['run_id']}").json()
            assert timeless(run_after) == timeless(run_before)
        checked(httpx.get(f"{restored.url}/api/agent/runs/{runs[0]['run_id']}/events?after=0").content)


@pytest.mark.usefixtures("client_is_loaded")
@pytest.mark.parametrize("command", commands(), ids=str)
def test_every_command_works(command: Command, app: Process, nursery: Nursery, tmp_path: Path) -> None:
    """Each command of the documents, unchanged but for the port, does what the text says.

    The commands of the client and of the examples are forked, but for those that need a shell.
    """
    url = app.url
    text = command.text.replace(SERVICE, url).replace(PYTHON, sys.executable)
    match command.text.split()[0]:
        case "./run.sh" if text == "./run.sh test":
            file = "tests/json_codec/test_json_writing.py"  # imports little
            assert file in run(f"{text} --collect-only -q -n 0 {file}")
        case "./run.sh":
            with served(text, DATA_DIR=str(tmp_path), EMBEDDED_MODEL="off") as there:
                assert httpx.get(there + "/health").json() == {"status": "ok"}
        case "cp" | "kill":
            check_backup(text, nursery, tmp_path)
        case "curl" if "RUN_ID" in text:
            assert run(text.replace("RUN_ID", simulated(url)["run_id"])).startswith(": ping\n\nid: 6\n")
        case "curl" if "/stream" in text:
            checked(run(text).encode())
        case "curl":
            httpx.post(url + "/api/agent/sessions", json={"session_id": "chat-1"})  # used by another command
            assert '"error"' not in run(text)
        case _ if "http.server" in text:
            with served(text.replace(" 3000 ", " 0 ")) as there:
                assert httpx.get(there + "/page.html").status_code == 200
        case _ if "--simulate approval" in text and "--approve" not in text:
            with at_terminal(Service(app), *shlex.split(text)[2:]) as terminal:
                terminal.until("(edit): ")
                terminal.type("y")
                assert "succeeded" in terminal.ended().out
        case _ if "--quiet" in text:
            assert run(text, AGENT_STREAM_URL=url).strip()
        case _ if "test_client.py" in text:
            assert "succeeded" in run_program(text, url)
        case _ if "-m database" in text:
            assert "up to date" in run(text, DATA_DIR=str(tmp_path))
        case "echo":
            run(text, cwd=tmp_path)
            assert Settings(_env_file=tmp_path / ".env").openai_api_key is not None
        case _ if "examples/python" in text:
            assert run_program(text, url).strip()
        case _:
            pytest.fail(f"no test runs this command of {command.document}")


def test_commands_that_install_are_known() -> None:
    """The documents have no other commands that install packages than those that tests/world/live runs."""
    found = {command for document in DOCUMENTS for command in installing(document)}
    next_commands = {"cd examples/nextjs", "npm install", "npm run build", "npm start"}
    clients = {f"npm install {SERVICE}/static/agent-stream.tgz", "python -m pip install ./clients/python"}
    assert found == next_commands | clients | set(installing("clients/typescript/README.md"))


def test_every_event_is_documented() -> None:
    """The table of docs/events.md has each event with its keys, optional ones marked, and no other events."""
    text = (ROOT / "docs/events.md").read_text().partition("## The events")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text, re.MULTILINE))
    for data, name in EVENT_TYPES.items():
        fields = data.model_fields
        assert rows[name].split(", ") == [
            key if field.is_required() or key == "truncated" else f"{key}?" for key, field in fields.items()
        ]
    assert set(rows) == set(EVENT_TYPES.values())


@pytest.mark.parametrize("document", TRANSCRIPTS)
def test_transcripts_follow_the_contract(document: str) -> None:
    """Each frame of a document's transcript is an event of the contract, also if its envelope is left out."""
    frames = re.findall(r"^id: (\d+)\nevent: (\w+)\ndata: (.*)$", (ROOT / document).read_text(), re.MULTILINE)
    assert frames
    for seq, name, data in frames:
        event = STREAM_EVENT.validate_json(data.replace(", …}", ENVELOPE))
        assert event.event == name
        assert data.endswith(", …}") or str(event.seq) == seq


def test_every_route_is_documented() -> None:
    """The table of docs/api.md has each route of the OpenAPI document, with its method."""
    text = (ROOT / "docs/api.md").read_text()
    for path, methods in create_app(settings()).openapi()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in text


def test_every_field_of_a_request_is_documented() -> None:
    """The table of docs/api.md has each field of a request for a run, and names the fields of a scripted run."""
    text = (ROOT / "docs/api.md").read_text().partition("## The request")[2].partition("\n## ")[0]
    rows = "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))
    assert sorted(re.findall(r"`(\w+)`", rows)) == sorted(AgentRequest.model_fields)
    assert {name for name in SimulateRequest.model_fields if f"`{name}`" not in text} == set()


def test_every_setting_is_documented() -> None:
    """docs/settings.md has each setting once, with the default of `.env.example`."""
    text = (ROOT / "docs/settings.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) ?\| .", text, re.MULTILINE)
    example = re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    defaults = {name: f"`{value}`" if value else "" for name, value in example} | {"THINK_TAGS": "names of models"}
    assert dict(rows) == defaults
    assert len(rows) == len(defaults)


def test_every_error_code_is_documented() -> None:
    """docs/errors.md has each code with its status, whether to retry, and its message, and no other codes."""
    rows = set(
        re.findall(r"^\| `(\w+)` \| (\d+) \| (yes|no) \| (.*) \|$", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)
    )
    table = {(e.code, str(e.status), "yes" if e.retryable else "no", e.default) for e in every_error()}
    assert rows == table


def test_every_warning_code_is_documented() -> None:
    """The table of warnings in docs/errors.md has each code, and no others."""
    warnings = (ROOT / "docs/errors.md").read_text().partition("## Warnings")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", warnings, re.MULTILINE)) == {*WarningCode}


def test_the_architecture_names_every_room() -> None:
    """docs/architecture.md names each module of the services in its package's paragraph, and no path that doesn't
    exist.
    """
    text = (ROOT / "docs/architecture.md").read_text()
    for package in (ROOT / "services").glob("*/__init__.py"):
        name = package.parent.name
        [paragraph] = [part for part in text.split("\n\n") if part.startswith(f"**`services/{name}/`**")]
        modules = {module.stem for module in package.parent.glob("*.py")} - {"__init__"}
        assert modules <= set(re.findall(r"`(\w+)`", paragraph)), name
    paths = re.findall(r"`([\w/]+\.py)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_architecture_s_first_table_names_what_there_is() -> None:
    """Each name in the table is a class, a function or a constant of the file beside it."""
    table = (ROOT / "docs/architecture.md").read_text().partition("Where to look first")[2].partition("\n\n1. ")[0]
    named = re.findall(r"`([\w/]+\.py)`: `(\w+)(?:\.(\w+))?`", table)
    assert len(named) >= 3
    for path, name, method in named:
        source = (ROOT / path).read_text()
        assert re.search(rf"^(class {name}\b|def {name}\b|{name}\b.*=)", source, re.MULTILINE), f"{path}: {name}"
        assert not method or f"def {method}(" in source, f"{path}: {name}.{method}"


def test_every_provider_and_every_rule_is_documented() -> None:
    """docs/upstreams.md has a row for each provider's key, each server known by its host, and each rule."""
    text = (ROOT / "docs/upstreams.md").read_text()
    keys = {name.upper() for provider in PROVIDERS.values() for name in provider.keys}
    assert {key for key in keys if f"`{key}=" not in text} == set()
    hosts = {urlsplit(provider.url).hostname or "" for provider in BY_BASE_URL.values()}
    assert {host for host in hosts if f"{host}/" not in text} == set()
    rules = {*re.findall(r"^\| `(\w+)` \|", text.partition("### Rules")[2].partition("###")[0], re.MULTILINE)}
    assert rules == set(WireRules.model_fields)


def test_quoted_texts_are_those_of_the_code() -> None:
    """The documents quote the texts that a model gets for a failure without a message and for an empty result."""
    assert f'"{NO_REASON}"' in (ROOT / "docs/tools.md").read_text()
    assert f"`{EMPTY_RESULT}`" in (ROOT / "docs/upstreams.md").read_text()


def test_links_lead_somewhere() -> None:
    """Every relative link of the documents leads to a file of the project."""
    for document in every_document():
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / document).read_text()):
            assert ((ROOT / document).parent / target).exists(), f"{document}: {target}"


def test_links_to_headings_lead_somewhere() -> None:
    """The part of a relative link after # is a heading of the linked document."""
    for document in every_document():
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", (ROOT / document).read_text()):
            text = ((ROOT / document).parent / target if target else ROOT / document).read_text()
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{document}: {target}#{anchor}"


def every_document() -> list[str]:
    return ["README.md", "QUICKSTART.md", *(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))]
