"""Forks a command-line program from the nursery: a start costs 20 ms of CPU in place of 300 ms for its imports."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from process import ROOT, Nursery


class ForkedCommand:
    """A running program, with the part of `subprocess.Popen` that tests use. A stream that isn't a pipe is None."""

    def __init__(self, nursery: Nursery, pid: int, ours: list[IO[bytes] | None]) -> None:
        self.pid = pid
        self.stdin, self.stdout, self.stderr = ours
        self.returncode: int | None = None
        self._nursery = nursery

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the program is known to have ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the program."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float) -> int:
        """Return the exit status, negative for a signal. Raise `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self.returncode = self._nursery.wait(self.pid, timeout)
        return self.returncode

    def communicate(self, text: bytes = b"", timeout: float = 30) -> tuple[bytes, bytes]:
        """Write `text` to standard input and return the rest of both outputs, once the program has ended."""
        assert self.stdout is not None
        assert self.stderr is not None
        with ThreadPoolExecutor() as threads:
            out, err = threads.submit(self.stdout.read), threads.submit(self.stderr.read)
            if self.stdin is not None:
                self.stdin.write(text)
                self.stdin.close()
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            return out.result(), err.result()


@contextmanager
def forked_command(
    nursery: Nursery,
    module: str,
    *arguments: str,
    env: Mapping[str, str],
    directory: Path = ROOT,
    stdin: int = subprocess.DEVNULL,
    terminal: int | None = None,
    umask: int | None = None,
) -> Iterator[ForkedCommand]:
    """Run a module's `main` in this environment alone, and kill it at the end if it is still running.

    `stdin` is `subprocess.DEVNULL` or `PIPE`, as `Popen` accepts it; a `terminal`'s descriptor replaces all streams.
    """
    ours: list[IO[bytes] | None] = [None, None, None]
    if terminal is not None:
        its = [terminal] * 3
    else:
        null = os.open(os.devnull, os.O_RDONLY)
        reads, writes = zip(*(os.pipe() for _ in range(3)), strict=True)
        its = [reads[0] if stdin == subprocess.PIPE else null, *writes[1:]]
        ours = [open(writes[0], "wb", 0), *(open(read, "rb", 0) for read in reads[1:])]  # noqa: SIM115, PTH123
    paths = [f"/proc/{os.getpid()}/fd/{number}" for number in its]
    pid = nursery.start(
        f"{module}:main", env, arguments=arguments, directory=str(directory), streams=paths, umask=umask
    )
    if terminal is None:
        for number in {null, reads[0], *writes[1:]}:
            os.close(number)
    command = ForkedCommand(nursery, pid, ours)
    try:
        yield command
    finally:
        command.kill()
        command.wait(5)
        for stream in ours:
            if stream is not None:
                stream.close()
