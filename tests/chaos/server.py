"""Runs the service on its own port and in its own data directory, which it keeps through every crash."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from process import STARTED, Nursery, free_port

OPENING = re.compile("Waiting for application startup")
OPEN = re.compile("Application startup complete")
COLLECTED = re.compile("garbage collected")
TRACED = re.compile(r"traced (\d+) bytes")
START_LIMIT_S = 40


class Server:
    """The service's processes, one after the other."""

    def __init__(self, directory: Path, settings: Mapping[str, str], nursery: Nursery) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{settings['PORT']}"
        self.up = asyncio.Event()  # set while the service accepts connections
        self.pid = 0
        self._settings = settings
        self._nursery = nursery
        self._first = len(nursery.log)  # the index of its first log line
        self._begun = self._first  # the index from which `says` searches

    async def start(self, until: re.Pattern[str] = STARTED) -> None:
        """Start a process, and return once its log reports that it is ready."""
        self._begun = len(self._nursery.log)
        more = {} if self.database.exists() else {"new_data": str(self.directory)}
        self.pid = self._nursery.start("chaos.service:main", self._settings, **more)
        await self.says(until)
        self.up.set()

    async def says(self, what: re.Pattern[str], timeout: float = START_LIMIT_S) -> None:
        """Wait until the log has a line that matches. Lines since the last action count."""
        found = lambda: any(what.search(line) for line in self._nursery.log[self._begun :])  # noqa: E731
        await self._nursery.more.wait(found, timeout, lambda: "".join(self._nursery.log[self._begun :]))

    async def collect_garbage(self) -> None:
        """Make the process collect its garbage now."""
        self._begun = len(self._nursery.log)
        os.kill(self.pid, signal.SIGUSR1)
        await self.says(COLLECTED)

    async def traced(self) -> int:
        """Return the bytes that its Python objects have allocated since the first call."""
        self._begun = len(self._nursery.log)
        os.kill(self.pid, signal.SIGUSR2)
        await self.says(TRACED)
        [found] = [found for line in self._nursery.log[self._begun :] if (found := TRACED.search(line))]
        return int(found[1])

    async def kill(self) -> None:
        """Kill its process, and return once it has ended."""
        self.send(signal.SIGKILL)
        await self.gone()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its process."""
        self.up.clear()
        os.kill(self.pid, number)

    async def gone(self) -> int:
        """Wait for its process to end, and return the exit status."""
        status = await asyncio.to_thread(self._nursery.wait, self.pid)
        self.pid = 0
        return status

    def close(self) -> None:
        """Kill its process if it still runs, and save its log beside its files."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._nursery.wait(self.pid)
        (self.directory / "service.log").write_text("".join(self._nursery.log[self._first :]))

    # Its files

    @property
    def runs(self) -> Path:
        """The event log's directory."""
        return self.directory / "runs"

    @property
    def database(self) -> Path:
        """The database file."""
        return self.directory / "agent_stream.db"

    def active(self) -> list[str]:
        """Return the runs that are not archived."""
        return [file.stem for file in self.runs.glob("active/*.sse")]

    def marks(self) -> list[str]:
        """Return the marks that approved calls have written."""
        file = self.directory / "marks"
        return file.read_text().splitlines() if file.exists() else []

    def archived(self) -> list[str]:
        """Return the archived runs."""
        return [file.stem for file in self.runs.glob("????-??-??/*.sse")]

    def file(self, run_id: str) -> Path:
        """Return a run's file, active or archived."""
        [file] = self.runs.glob(f"*/{run_id}.sse")
        return file


@contextmanager
def crashing_server(nursery: Nursery, directory: Path, upstream: str, **settings: str) -> Iterator[Server]:
    """A service that is not started yet. It is killed at the end if it still runs."""
    environment = {
        "PORT": str(free_port()),
        "DATA_DIR": str(directory),
        "DEDALUS_BASE_URL": upstream,
        "DEFAULT_MODEL": "test/model",
        "DEFAULT_CONTEXT_TOKENS": "100000000",  # no history is cut
    }
    server = Server(directory, environment | settings, nursery)
    try:
        yield server
    finally:
        server.close()
