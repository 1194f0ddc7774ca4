"""Programs that are made of the Python client: those of its documents, word for word, and the examples."""

import os
import re
import signal
import subprocess
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from client_programs import PACKAGE, Ended, Service, ended, process, read_until, run, serving
from fake_dedalus import FakeDedalus
from lossy_proxy import line_to
from process import ROOT, Nursery, free_port
from wire import Done, ErrorData, Finish, Gate, Text, ToolCall, Usage, WaitFor, answer

pytest_plugins = "client_fixtures"
pytestmark = pytest.mark.usefixtures("package_is_loaded")

README, GUIDE = ROOT / "clients/python/README.md", ROOT / "docs/python.md"
BOTH = pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
END = (Finish("stop", Usage(3, 2, 5)), Done())
RESUME = "examples/python_resume.py"


def program(document: Path, number: int, tmp_path: Path, url: str) -> str:
    """The path of a file with one of a document's programs, word for word but for the URL."""
    code = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)[number]
    file = tmp_path / "program.py"
    file.write_text(code.replace("http://127.0.0.1:8000", url))
    return str(file)


# The documents


@pytest.mark.parametrize(
    ("document", "number", "shown"),
    [(README, 0, "Hello\n2 tokens\n"), (README, 1, "Hello"), (README, 2, "Hello\n"), (GUIDE, 0, "Hello")],
    ids=["ten lines", "asyncio", "answer", "guide"],
)
def test_programs_of_the_documents(
    document: Path, number: int, shown: str, service: Service, upstream: FakeDedalus, tmp_path: Path
) -> None:
    """Each program prints the answer."""
    upstream.turn(Text("Hel", "lo"), *END)
    with process(program(document, number, tmp_path, service.url), env={}) as running:
        assert ended(running) == Ended(0, shown, "")


def test_the_first_program_has_ten_lines() -> None:
    """The program at the top of the client's README is as short as it says."""
    [first] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[:1]
    assert len(first.splitlines()) == 10


@pytest.mark.parametrize(
    ("typed", "answer"), [(b"y\n", "I deleted the folder drafts."), (b"n\n", "I left the folder as it is.")]
)
def test_the_program_that_asks_for_an_approval(typed: bytes, answer: str, service: Service, tmp_path: Path) -> None:
    """The program sends the decision that the user types."""
    environment = {"AGENT_STREAM_URL": service.url}
    with process(program(GUIDE, 1, tmp_path, ""), env=environment, stdin=subprocess.PIPE) as running:
        out, err = running.communicate(typed, 30)
    assert (out.decode(), err) == (f"Allow delete_folder {{'folder': 'drafts'}}? {answer}\n", b"")


def test_the_program_with_a_schema(service: Service, upstream: FakeDedalus, tmp_path: Path) -> None:
    """The value is shown while it is written, and has its name at the end."""
    upstream.turn(*answer('{"name": "Glomma"}'))
    with process(program(GUIDE, 3, tmp_path, ""), env={"AGENT_STREAM_URL": service.url}) as running:
        code, out, err = ended(running)
    assert (code, err) == (0, "")
    assert out.endswith("{'name': 'Glomma'}\nGlomma\n")
    assert upstream.chats[-1].body["messages"][0]["content"].endswith('"required":["name"]}')


def test_the_program_with_a_tool(service: Service, upstream: FakeDedalus, tmp_path: Path) -> None:
    """The model's call is made in the program."""
    upstream.turn(ToolCall("call_1", "read_note", '{"name":"shopping"}'), Finish("tool_calls"), Done())
    upstream.turn(*answer("Milk and bread."))
    with process(program(GUIDE, 2, tmp_path, ""), env={"AGENT_STREAM_URL": service.url}) as running:
        assert ended(running) == Ended(0, "Milk and bread.\n", "")
    assert upstream.chats[-1].body["messages"][-1]["content"] == "milk, bread"


# The ten lines, and a restart of the service


def test_the_program_survives_a_restart(nursery: Nursery, upstream: FakeDedalus, tmp_path: Path) -> None:
    """The connection breaks in the middle of the answer, the service is killed and started: the rest is printed."""
    gate = Gate()
    upstream.turn(Text("Ray"), WaitFor(gate), Text("leigh"), *END)
    settings = {"DEDALUS_BASE_URL": upstream.url, "PORT": str(free_port())}
    with ExitStack() as stack:
        first = stack.enter_context(serving(nursery, tmp_path / "data", **settings))
        line = stack.enter_context(line_to(first.url))
        running = stack.enter_context(process(program(README, 0, tmp_path, line.url), env={}))
        shown = read_until(running.stdout, "Ray")
        line.cut()
        gate.open()
        whole = httpx.get(f"{first.url}/api/agent/runs/{only_run(first)}/events", trust_env=False).text
        assert '"event":"complete"' in whole
        first.process.kill()
        stack.enter_context(serving(nursery, tmp_path / "data", **settings))
        line.restore()
        rest = ended(running)
    assert (rest.code, shown + rest.out, rest.err) == (0, "Rayleigh\n2 tokens\n", "")


def only_run(service: Service) -> str:
    [run] = httpx.get(f"{service.url}/api/agent/runs", trust_env=False).json()["runs"]
    return str(run["run_id"])


@BOTH
def test_the_program_reports_an_answer_that_was_cut(
    how: signal.Signals, nursery: Nursery, upstream: FakeDedalus, tmp_path: Path
) -> None:
    """A run that the service's end has cut off is a `RunFailed` with the code `interrupted`, never a success."""
    upstream.turn(Text("Ray"), WaitFor(Gate()), *END)
    settings = {"DEDALUS_BASE_URL": upstream.url, "PORT": str(free_port())}
    with ExitStack() as stack:
        first = stack.enter_context(serving(nursery, tmp_path / "data", **settings))
        running = stack.enter_context(process(program(README, 0, tmp_path, first.url), env={}))
        shown = read_until(running.stdout, "Ray")
        first.process.send_signal(how)
        first.process.wait(10)
        stack.enter_context(serving(nursery, tmp_path / "data", **settings))
        rest = ended(running)
    assert (rest.code, shown + rest.out) == (1, "Ray")
    assert rest.err.splitlines()[-1].startswith("agent_stream.errors.RunFailed: interrupted: ")


# The examples


@pytest.mark.parametrize("name", ["python_stream.py", "python_resume.py"])
def test_an_example_has_ten_lines(name: str) -> None:
    """An example has ten lines after its docstring."""
    code = (ROOT / "examples" / name).read_text().split('"""')[2]
    assert len(code.strip().splitlines()) == 10


def test_the_client_is_installed() -> None:
    """`./run.sh` has installed the client in the environment in which the examples run."""
    assert version("agent-stream") == "1.0.0"
    lines = (ROOT / "requirements-client.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [f"-e ./{PACKAGE.relative_to(ROOT)}"]


def test_example_stream(service: Service, upstream: FakeDedalus) -> None:
    """examples/python_stream.py prints the answer to its question."""
    upstream.turn(*answer("Because of Rayleigh scattering."))
    shown = run("examples/python_stream.py", "Why?", url=service.url)
    assert shown == (0, "Because of Rayleigh scattering.\n", "")
    assert upstream.chats[-1].body["messages"][-1]["content"] == "Why?"


def test_example_stream_failed(service: Service, upstream: FakeDedalus) -> None:
    """examples/python_stream.py ends with 1 and the error's code when the run fails."""
    upstream.turn(Text("Hel"), ErrorData({"error": {"message": "secret", "code": 500}}))
    shown = run("examples/python_stream.py", "Why?", url=service.url)
    assert shown.code == 1
    assert shown.err.splitlines()[-1].startswith("agent_stream.errors.RunFailed: upstream_failed: ")


def test_example_resume(service: Service) -> None:
    """examples/python_resume.py gets over a broken connection, with nothing missing and nothing twice."""
    shown = run(RESUME, url=service.url)
    assert (shown.code, shown.err) == (0, "")
    assert numbers(shown.out) == list(range(1, 45))
    last = shown.out.splitlines()[-1]
    assert last.startswith("Complete(")
    assert "status='succeeded'" in last


def test_example_resume_after_an_interruption(service: Service) -> None:
    """After Ctrl-C, the program reads the rest of the run whose id and last number it is given."""
    env = {"AGENT_STREAM_URL": service.url, "PYTHONUNBUFFERED": "1"}
    with process(RESUME, env=env, forked=False) as running:  # an interpreter of its own imports what it needs
        shown = read_until(running.stdout, "Thinking(")
        os.kill(running.pid, signal.SIGINT)
        shown += ended(running).out
    [run_id, *_], last = re.findall(r"run_id='(\w+)'", shown), numbers(shown)[-1]
    rest = run(RESUME, run_id, str(last), url=service.url)
    assert numbers(shown + rest.out) == list(range(1, 45))


def numbers(printed: str) -> list[int]:
    """The numbers of the events that were printed."""
    return [int(seq) for seq in re.findall(r"seq=(\d+),", printed)]
