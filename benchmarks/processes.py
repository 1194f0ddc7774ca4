"""Starts and ends the processes: `load` (the fake upstream and the clients) on one core, the services on another."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
START_LIMIT_S = 60
STOP_LIMIT_S = 35
LOAD_STOP_LIMIT_S = 5
ANSWER_LIMIT_S = 10
POLL_S = 0.01


@dataclass(frozen=True)
class Service:
    """A command that serves, and its settings beyond those that all services have."""

    name: str
    command: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A service that accepts runs. `start_s` is how long its start took."""

    name: str
    process: subprocess.Popen[str]
    port: int
    start_s: float

    def cpu_s(self) -> float:
        """Return the CPU time of all its threads, including ended ones, by the clock of clock_getcpuclockid(3)."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def memory_kb(self, name: str) -> int:
        """Return `VmRSS`, its memory, or `VmHWM`, the peak of it."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise RuntimeError(f"no {name} for process {self.process.pid}")

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of the response to a GET."""
        return get(self.port, path)


class LoadProcess:
    """The process of the fake upstream and the clients. It runs one load for each line that it reads."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.upstream_port: int = self.answer()["upstream_port"]

    def answer(self, question: str = "") -> dict[str, Any]:
        """Send a line, if it isn't empty, and return the process's next answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(question)
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("load has ended too early")
        parsed: dict[str, Any] = json.loads(line)
        return parsed


@contextmanager
def loading() -> Iterator[LoadProcess]:
    """Run `load` for the length of a block."""
    process = subprocess.Popen([_compiled()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with _pinned(process, cores()[1], LOAD_STOP_LIMIT_S):
        yield LoadProcess(process)


@contextmanager
def serving(service: Service, upstream_port: int, data_dir: Path) -> Iterator[Running]:
    """Run a service with that upstream for the length of a block. Its log goes to standard error."""
    port = _free_port()
    settings = {**_environment(port, upstream_port, data_dir), **service.settings}
    started = time.monotonic()
    process = subprocess.Popen(service.command, cwd=ROOT, env=settings, stdout=subprocess.DEVNULL, text=True)
    with _pinned(process, cores()[0], STOP_LIMIT_S):
        _wait_until_ready(process, port)
        yield Running(service.name, process, port, time.monotonic() - started)


def cores() -> tuple[int, int]:
    """Return a core for the services and one for `load`. They are the same if there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def get(port: int, path: str) -> tuple[int, bytes]:
    """Return the status and the body of the response to a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_LIMIT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _compiled() -> Path:
    """Compile load.c if it has changed, and return the program's path."""
    source, binary = HERE / "load.c", HERE / "build" / "load"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        binary.parent.mkdir(exist_ok=True)
        command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", str(binary), str(source)]
        subprocess.run(command, check=True)
    return binary


def _free_port() -> int:
    """Return a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _pinned(process: subprocess.Popen[str], core: int, stop_limit_s: float) -> Iterator[None]:
    """Pin a process to one core for the length of a block, and end it by its id afterwards."""
    try:
        os.sched_setaffinity(process.pid, {core})
        yield
    finally:
        process.terminate()
        try:
            process.wait(stop_limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(port: int, upstream_port: int, data_dir: Path) -> dict[str, str]:
    """Return the settings of a measured service. Of the shell's variables they have only those that start a program."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return kept | {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DEDALUS_BASE_URL": f"http://127.0.0.1:{upstream_port}",
        "DEDALUS_API_KEY": "bench",
        "DATA_DIR": str(data_dir),
        "MAX_CONCURRENT_RUNS": "4000",
        "DEFAULT_MODEL": "bench/model",
        "LOG_LEVEL": "warning",
    }


def _wait_until_ready(service: subprocess.Popen[str], port: int) -> None:
    """Wait until the service accepts runs. Raise `RuntimeError` if it ends or needs too long."""
    deadline = time.monotonic() + START_LIMIT_S
    while not _is_ready(port):
        if service.poll() is not None:
            raise RuntimeError(f"the service ended with status {service.returncode} before it was ready")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the service was not ready within {START_LIMIT_S} s")
        time.sleep(POLL_S)


def _is_ready(port: int) -> bool:
    """Return whether the service reports that it accepts runs."""
    try:
        return get(port, "/ready")[0] == http.HTTPStatus.OK
    except OSError:
        return False


def warn_of_one_core() -> None:
    """Print a warning if the service and `load` have to share a core."""
    if len(set(cores())) == 1:
        print("there is only one core, so latencies include the wait for it", file=sys.stderr)
