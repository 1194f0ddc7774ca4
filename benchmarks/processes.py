"""The processes of a measurement: `load` (the fake upstream and the clients) on one core, the services on another."""

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
    """A command that serves, and the settings in which it differs from the others."""

    name: str
    command: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A service that takes runs; `start_s` after it was started."""

    name: str
    process: subprocess.Popen[str]
    port: int
    start_s: float

    def cpu_s(self) -> float:
        """CPU time of all its threads, ended ones too, to the nanosecond: what clock_getcpuclockid(3) gives."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def memory_kb(self, name: str) -> int:
        """`VmRSS`, or `VmHWM`, its peak."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise RuntimeError(f"no {name} for process {self.process.pid}")

    def get(self, path: str) -> tuple[int, bytes]:
        """The status and the body of an answer."""
        return get(self.port, path)


class LoadProcess:
    """The fake upstream and the clients, which obey lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.upstream_port: int = self.answer()["upstream_port"]

    def answer(self, question: str = "") -> dict[str, Any]:
        """Give it a line, if there is one to give, and read its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(question)
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("load has ended early")
        parsed: dict[str, Any] = json.loads(line)
        return parsed


@contextmanager
def loading() -> Iterator[LoadProcess]:
    """Start `load`, and end it afterwards."""
    process = subprocess.Popen([_compiled()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with _pinned(process, cores()[1], LOAD_STOP_LIMIT_S):
        yield LoadProcess(process)


@contextmanager
def serving(service: Service, upstream_port: int, data_dir: Path) -> Iterator[Running]:
    """Start a service that asks that upstream, and end it afterwards. What it says goes to standard error."""
    port = _free_port()
    settings = {**_environment(port, upstream_port, data_dir), **service.settings}
    started = time.monotonic()
    process = subprocess.Popen(service.command, cwd=ROOT, env=settings, stdout=subprocess.DEVNULL, text=True)
    with _pinned(process, cores()[0], STOP_LIMIT_S):
        _wait_until_ready(process, port)
        yield Running(service.name, process, port, time.monotonic() - started)


def cores() -> tuple[int, int]:
    """One core for the services and one for `load`; the same one where there is no other."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def get(port: int, path: str) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_LIMIT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _compiled() -> Path:
    """Compile load.c unless that has been done since it last changed."""
    source, binary = HERE / "load.c", HERE / "build" / "load"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        binary.parent.mkdir(exist_ok=True)
        command = [os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", str(binary), str(source)]
        subprocess.run(command, check=True)
    return binary


def _free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _pinned(process: subprocess.Popen[str], core: int, stop_limit_s: float) -> Iterator[None]:
    """Keep a process on one core, and end it, by its id, whatever happens."""
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
    """Settings of a measured service: nothing of the caller's shell but what starts a program."""
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
    """Return when the service takes runs; raise if it ends or takes too long instead."""
    deadline = time.monotonic() + START_LIMIT_S
    while not _is_ready(port):
        if service.poll() is not None:
            raise RuntimeError(f"the service ended with status {service.returncode} before it was ready")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the service was not ready within {START_LIMIT_S} s")
        time.sleep(POLL_S)


def _is_ready(port: int) -> bool:
    """Whether the service says that it takes runs."""
    try:
        return get(port, "/ready")[0] == http.HTTPStatus.OK
    except OSError:
        return False


def warn_of_one_core() -> None:
    """Say so where the service and `load` have to share."""
    if len(set(cores())) == 1:
        print("only one core: latencies include waiting for it", file=sys.stderr)
