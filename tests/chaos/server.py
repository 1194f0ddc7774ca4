"""The service on a port and in a data directory of its own, which it keeps through every crash."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from process import ROOT, STARTED, environment_of, free_port
from wire import Signal

OPENING = re.compile("Waiting for application startup")
OPEN = re.compile("Application startup complete")
COLLECTED = re.compile("garbage collected")
START_LIMIT_S = 40


class Nursery:
    """A process that starts the service, one at a time and again and again: see `chaos.nursery`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.log: list[str] = []
        self.more = Signal()
        self._process = process
        self._collecting = threading.Thread(target=self._collect, daemon=True)
        self._collecting.start()

    def tell(self, line: str) -> int:
        """Its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        if answer := self._process.stdout.readline():
            return int(answer)
        raise AssertionError("the nursery has ended:\n" + "".join(self.log[-30:]))

    def close(self) -> None:
        """End it, and with it what it has started."""
        self._process.communicate()
        self._collecting.join()

    def _collect(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            self.more.notify()


@contextmanager
def nursery(**environment: str) -> Iterator[Nursery]:
    """A nursery, for any number of servers one after the other."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos.nursery"],
        cwd=ROOT,
        env=environment_of({"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    made = Nursery(process)
    try:
        yield made
    finally:
        made.close()


class Server:
    """The service's process, one after the other."""

    def __init__(self, directory: Path, settings: Mapping[str, str], nursery: Nursery) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{settings['PORT']}"
        self.up = asyncio.Event()  # whether it is worth while to connect
        self.pid = 0
        self._settings = json.dumps(dict(settings))
        self._nursery = nursery
        self._first = len(nursery.log)  # where its log begins …
        self._begun = self._first  # … and what it says next

    async def start(self, until: re.Pattern[str] = STARTED) -> None:
        """Start it, and come back when its log says so."""
        self._begun = len(self._nursery.log)
        self.pid = self._nursery.tell(self._settings)
        await self.says(until)
        self.up.set()

    async def says(self, what: re.Pattern[str], timeout: float = START_LIMIT_S) -> None:
        """Come back when its log says that, or has done since it was last told to do something."""
        found = lambda: any(what.search(line) for line in self._nursery.log[self._begun :])  # noqa: E731
        await self._nursery.more.wait(found, timeout, lambda: "".join(self._nursery.log[self._begun :]))

    async def collect_garbage(self) -> None:
        """Have it do so now."""
        self._begun = len(self._nursery.log)
        os.kill(self.pid, signal.SIGUSR1)
        await self.says(COLLECTED)

    async def kill(self) -> None:
        """End its process at once, and come back when it is gone."""
        self.send(signal.SIGKILL)
        await self.gone()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its process."""
        self.up.clear()
        os.kill(self.pid, number)

    async def gone(self) -> int:
        """Its process's exit status as `os.waitpid` gives it, once it has ended."""
        status = await asyncio.to_thread(self._nursery.tell, "wait")
        self.pid = 0
        return status

    def close(self) -> None:
        """Kill it if it is still there, and put its log beside its files."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._nursery.tell("wait")
        (self.directory / "service.log").write_text("".join(self._nursery.log[self._first :]))

    # Its files

    @property
    def runs(self) -> Path:
        """The event log's directory."""
        return self.directory / "runs"

    @property
    def database(self) -> Path:
        """The file of the rows."""
        return self.directory / "agent_stream.db"

    def active(self) -> list[str]:
        """The runs that are not archived."""
        return [file.stem for file in self.runs.glob("active/*.sse")]

    def marks(self) -> list[str]:
        """What the calls that were approved have left."""
        file = self.directory / "marks"
        return file.read_text().splitlines() if file.exists() else []

    def archived(self) -> list[str]:
        """The runs that are."""
        return [file.stem for file in self.runs.glob("????-??-??/*.sse")]

    def file(self, run_id: str) -> Path:
        """A run's file, wherever it is."""
        [file] = self.runs.glob(f"*/{run_id}.sse")
        return file


@contextmanager
def crashing_server(nursery: Nursery, directory: Path, upstream: str, **settings: str) -> Iterator[Server]:
    """The service, not started yet; killed at the end if it is still there."""
    given = {
        "PORT": str(free_port()),
        "DATA_DIR": str(directory),
        "DEDALUS_BASE_URL": upstream,
        "DEFAULT_MODEL": "test/model",
        "DEFAULT_CONTEXT_TOKENS": "100000000",  # no history is cut
    }
    server = Server(directory, given | settings, nursery)
    try:
        yield server
    finally:
        server.close()
