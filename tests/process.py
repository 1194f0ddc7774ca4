"""The service as a process of its own: `python app.py`, on a free port, ended by its process id."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from settings import Settings

ROOT = Path(__file__).parent.parent
LISTENING = re.compile(r"Uvicorn running on (http://\S+)")


class Process:
    """A running service: its URL, its process, and what it has logged so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.log: list[str] = []
        self.url = self._listening()
        self._rest = threading.Thread(target=self._collect, daemon=True)
        self._rest.start()

    def _listening(self) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := LISTENING.search(line):
                return found[1]
        raise AssertionError("the service did not start:\n" + "".join(self.log))

    def _collect(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def wait(self, timeout: float) -> int:
        """The exit status, once the process has ended and its log is whole."""
        status = self.process.wait(timeout)
        self._rest.join(timeout)
        return status


@contextmanager
def app_process(**environment: str) -> Iterator[Process]:
    """`python app.py` with these settings and none from outside; killed at the end if it is still there."""
    outside = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=outside | {"PORT": "0", "MARKETPLACE_URL": ""} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    running: Process | None = None
    try:
        running = Process(process)
        yield running
    finally:
        process.kill()
        if running is not None:
            running.wait(timeout=5)
        assert process.stderr is not None
        process.stderr.close()
