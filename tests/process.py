"""The service as a process of its own: `python app.py`, on a free port, ended by its process id."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from settings import Settings

ROOT = Path(__file__).parent.parent
FAST_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
LISTENING = re.compile(r"Uvicorn running on (http://\S+)")
STARTED = re.compile("Started server process")


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
        url = ""
        for line in self.process.stderr:
            self.log.append(line)
            if found := LISTENING.search(line):
                url = found[1]
            if STARTED.search(line):
                return url
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
def app_process(*, program: Sequence[str] = ("app.py",), **environment: str) -> Iterator[Process]:
    """`python app.py` with these settings and none from outside; killed at the end if it is still there.

    Its files are in a directory of its own unless DATA_DIR says where. `program` is another one that serves likewise.
    """
    with (
        TemporaryDirectory(dir=FAST_DISK, ignore_cleanup_errors=True) as directory,
        _running(program, {"DATA_DIR": directory} | environment) as running,
    ):
        yield running


def environment_of(given: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without its settings of the service, and with those that are given."""
    outside = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    return {**outside, "PORT": "0", "MARKETPLACE_URL": "", **given}


def free_port() -> int:
    """A port on which a service can start more than once.

    It is below those that the kernel gives to clients, one of which could hold it while no service does.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def _interrupt_not_ignored() -> Iterator[None]:
    """A process that is started inside can be interrupted.

    A shell starts what runs in the background with SIGINT ignored, and that is handed on to all that is started there.
    """
    if (
        signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _running(program: Sequence[str], environment: Mapping[str, str]) -> Iterator[Process]:
    with _interrupt_not_ignored():
        process = subprocess.Popen(
            [sys.executable, *program],
            cwd=ROOT,
            env=environment_of(environment),
            stderr=subprocess.PIPE,
            text=True,
        )
    running: Process | None = None
    try:
        running = Process(process)
        yield running
    except BaseException:
        sys.stderr.writelines([] if running is None else running.log)  # which tells why
        raise
    finally:
        process.kill()
        if running is not None:
            running.wait(timeout=5)
        assert process.stderr is not None
        process.stderr.close()
