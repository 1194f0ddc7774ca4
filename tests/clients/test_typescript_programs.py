"""Programs of the TypeScript client's README, in Node, word for word but for the URL."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from client_programs import ended, read_until
from fake_dedalus import FakeDedalus
from lossy_proxy import line_to
from node import TYPESCRIPT
from process import Nursery, free_port
from restarts import Place
from wire import Done, Finish, Gate, Text, ToolCall, WaitFor, answer

CALLED = (Finish("tool_calls"), Done())
README = TYPESCRIPT / "README.md"
PROGRAMS = TYPESCRIPT / "build/programs"  # below the package, which a program there imports by its name
TOOLS = '''
from tools import tool


@tool(approval=True)
def delete_folder(folder: str) -> str:
    """Delete a folder."""
    return f"deleted {folder}"
'''

pytestmark = pytest.mark.timeout(300)  # the first run on a machine installs the packages


def programs() -> list[str]:
    return re.findall(r"```ts\n(.*?)```", README.read_text(), re.DOTALL)


@contextmanager
def running(node: Path, name: str, code: str, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A program that talks to the service at a URL."""
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    file = PROGRAMS / f"{name}.ts"
    file.write_text(code.replace("http://127.0.0.1:8000", url))
    with subprocess.Popen([node, file], bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_first_program_has_ten_lines() -> None:
    """The program at the top of the README is as short as it says."""
    assert len(programs()[0].splitlines()) == 10


def test_the_first_program_survives_a_restart(node: Path, nursery: Nursery, tmp_path: Path) -> None:
    """The connection breaks in the middle of the answer, the service is killed and started: all is printed once."""
    (tmp_path / "folder_tools.py").write_text(TOOLS)
    gate = Gate()
    with FakeDedalus.in_thread() as fake, ExitStack() as stack:
        fake.turn(Text("Well. "), WaitFor(gate), ToolCall("call_1", "delete_folder", '{"folder":"drafts"}'), *CALLED)
        fake.turn(*answer("They are deleted."))
        place = Place(tmp_path, fake, nursery, PORT=str(free_port()), AGENT_TOOLS="folder_tools")
        first, client = stack.enter_context(place.served())
        line = stack.enter_context(line_to(first.url))
        program = stack.enter_context(running(node, "restart", programs()[0], line.url))
        shown = read_until(program.stdout, "Well. ")
        line.cut()
        gate.open()
        [run] = client.get("/api/agent/runs").json()["runs"]
        waits = client.get(f"/api/agent/runs/{run['run_id']}/events", params={"until": "waiting"})
        assert "event: approval_request" in waits.text
        first.kill()
        stack.enter_context(place.served())
        line.restore()
        rest = ended(program)
    assert (rest.code, rest.err) == (0, "")
    said, usage = (shown + rest.out).split("{ input_tokens")
    assert said == "Well. delete_folder { folder: 'drafts' }\nThey are deleted."
    assert "total_tokens" in usage
