"""A service that is started several times with the same files, and tools that leave a mark."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from fake_dedalus import FakeDedalus
from process import Nursery, Process, forked_app
from wire import Done, Finish, ToolCall

CALLS = [ToolCall("call_1", "delete", '{"folder":"drafts"}', thought_signature="sig"), Finish("tool_calls"), Done()]
TOOLS = '''
import threading
from pathlib import Path
from tools import tool

MARKS = Path(__file__).with_name("marks")


def marked(folder: str) -> int:
    with MARKS.open("a") as marks:
        marks.write(folder + "\\n")
    return len(MARKS.read_text().splitlines())


@tool(approval=True)
def delete(folder: str) -> str:
    """Delete a folder."""
    marked(folder)
    return "deleted"


@tool(approval=True)
def stuck(folder: str) -> str:
    """Delete a folder slowly."""
    if marked(folder) == 1:
        threading.Event().wait()
    return "deleted"


@tool
def hang(folder: str) -> str:
    """Never end."""
    marked(folder)
    threading.Event().wait()
    return "ended"


@tool(approval=True, idempotent=True)
def stuck_but_idempotent(folder: str) -> str:
    """Delete a folder slowly; twice is as good as once."""
    return stuck(folder)
'''


class Place:
    """The directory that the service keeps between starts, and the marks of its tools."""

    def __init__(self, directory: Path, fake: FakeDedalus, nursery: Nursery, **settings: str) -> None:
        self._nursery = nursery
        (directory / "waiting_tools.py").write_text(TOOLS)
        self._marks = directory / "marks"
        self._environment = {
            "DATA_DIR": str(directory / "data"),
            "PYTHONPATH": str(directory),
            "AGENT_TOOLS": "waiting_tools",
            "TOOLS_BY_DEFAULT": "all",
            "DEDALUS_BASE_URL": fake.url,
            "DEFAULT_MODEL": "test/model",
            "DRAIN_S": "3",
            **settings,
        }

    @property
    def marks(self) -> list[str]:
        return self._marks.read_text().splitlines() if self._marks.exists() else []

    @contextmanager
    def served(self) -> Iterator[tuple[Process, httpx.Client]]:
        with (
            forked_app(self._nursery, **self._environment) as process,
            httpx.Client(base_url=process.url, timeout=30) as client,
        ):
            yield process, client
