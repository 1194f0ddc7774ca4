"""The service on a port and in a data directory of its own, which it keeps through every crash."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from process import ROOT, STARTED, environment_of, free_port

OPENING = re.compile("Waiting for application startup")
OPEN = re.compile("Application startup complete")
START_LIMIT_S = 40


class Server:
    """The service's process, one after the other."""

    def __init__(self, directory: Path, port: int, nursery: asyncio.subprocess.Process) -> None:
        self.directory = directory
        self.url = f"http://127.0.0.1:{port}"
        self.up = asyncio.Event()  # whether it is worth while to connect
        self.log: list[str] = []
        self._nursery = nursery
        self._pid = 0
        self._begun = 0  # where the log of the present process begins
        self._more = asyncio.Event()

    async def start(self, until: re.Pattern[str] = STARTED) -> None:
        """Start it, and come back when its log says so."""
        self._begun = len(self.log)
        self._pid = int(await self._tell("start"))
        async with asyncio.timeout(START_LIMIT_S):
            while not any(until.search(line) for line in self.log[self._begun :]):
                self._more.clear()
                await self._more.wait()
        self.up.set()

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End its process, and come back when it is gone."""
        self.up.clear()
        os.kill(self._pid, number)
        await self._tell("wait")
        self._pid = 0

    async def collect(self) -> None:
        """Read its log, to the end."""
        assert self._nursery.stderr is not None
        async for line in self._nursery.stderr:
            self.log.append(line.decode(errors="replace"))
            self._more.set()

    async def _tell(self, word: str) -> bytes:
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(f"{word}\n".encode())
        if answer := await self._nursery.stdout.readline():
            return answer
        raise AssertionError("the nursery has ended:\n" + "".join(self.log[-30:]))

    # Its files

    def keep_log(self) -> None:
        """Put what it has logged beside its files."""
        (self.directory / "service.log").write_text("".join(self.log))

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

    def archived(self) -> list[str]:
        """The runs that are."""
        return [file.stem for file in self.runs.glob("????-??-??/*.sse")]

    def file(self, run_id: str) -> Path:
        """A run's file, wherever it is."""
        [file] = self.runs.glob(f"*/{run_id}.sse")
        return file


@asynccontextmanager
async def crashing_server(directory: Path, upstream: str, **environment: str) -> AsyncIterator[Server]:
    """The service, not started yet; killed at the end if it is still there."""
    port = free_port()
    given = {"PORT": str(port), "DATA_DIR": str(directory), "DEDALUS_BASE_URL": upstream, "DEFAULT_MODEL": "test/model"}
    given["DEFAULT_CONTEXT_TOKENS"] = "100000000"  # no history is cut
    nursery = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "chaos.nursery",
        cwd=ROOT,
        env=environment_of(given | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | environment),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1024 * 1024,
    )
    server = Server(directory, port, nursery)
    collecting = asyncio.create_task(server.collect())
    try:
        yield server
    finally:
        assert nursery.stdin is not None
        nursery.stdin.close()
        await nursery.wait()
        await collecting
