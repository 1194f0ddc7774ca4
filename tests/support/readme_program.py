"""The ten-line program of the TypeScript client's README, whose service is killed and started again in the middle."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from client_programs import Ended, ended, read_until
from fake_dedalus import FakeDedalus
from lossy_proxy import line_to
from node import TYPESCRIPT
from process import Nursery, free_port
from restarts import Place
from wire import Done, Finish, Gate, Text, ToolCall, WaitFor, answer

README = TYPESCRIPT / "README.md"
URL = "http://127.0.0.1:8000"
CALLED = (Finish("tool_calls"), Done())
TOOLS = '''
from tools import tool


@tool(approval=True)
def delete_folder(folder: str) -> str:
    """Delete a folder."""
    return f"deleted {folder}"
'''


def programs() -> list[str]:
    """The programs of the README."""
    return re.findall(r"```ts\n(.*?)```", README.read_text(), re.DOTALL)


@contextmanager
def running(command: Sequence[str | Path], folder: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The first program, word for word but for the URL of the service, in a folder below the package or with it."""
    file = folder / "program.ts"
    file.write_text(programs()[0].replace(URL, url))
    with subprocess.Popen(
        [*command, file.name], cwd=folder, bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def through_a_restart(command: Sequence[str | Path], folder: Path, nursery: Nursery, directory: Path) -> Ended:
    """Run the program by the command, and restart the service in the middle. Return the program's whole output.

    The connection breaks in the middle of the answer. The service is killed while the run waits for the program's
    approval. It keeps its data in the directory.
    """
    (directory / "folder_tools.py").write_text(TOOLS)
    gate = Gate()
    with FakeDedalus.in_thread() as fake, ExitStack() as stack:
        fake.turn(Text("Well. "), WaitFor(gate), ToolCall("call_1", "delete_folder", '{"folder":"drafts"}'), *CALLED)
        fake.turn(*answer("They are deleted."))
        place = Place(directory, fake, nursery, PORT=str(free_port()), AGENT_TOOLS="folder_tools")
        first, client = stack.enter_context(place.served())
        line = stack.enter_context(line_to(first.url))
        program = stack.enter_context(running(command, folder, line.url))
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
    return Ended(rest.code, shown + rest.out, rest.err)


def check(ended: Ended) -> None:
    """Check that the program printed everything once."""
    assert (ended.code, ended.err) == (0, "")
    said, usage = re.split(r"\{\s+input_tokens", ended.out)
    assert said == 'Well. delete_folder {"folder":"drafts"}\nThey are deleted.'
    assert "total_tokens" in usage
