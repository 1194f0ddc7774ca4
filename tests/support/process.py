"""Runs the service as a process of its own, on a free port, and ends it by its process id."""

import errno
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from one_at_a_time import one_at_a_time
from wire import Signal

from settings import Settings

ROOT = Path(__file__).parents[2]
FAST_DISK = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
LISTENING = re.compile(r"Uvicorn running on (http://\S+)")
STARTED = re.compile("Started server process")
MODEL_LOADED = "is loaded"  # in the line about the embedded model
DRAINING = "draining:"


class Process:
    """A running service: its URL, process id and log."""

    def __init__(self, pid: int, stderr: IO[str], ended: Callable[[float], int]) -> None:
        self.pid = pid
        self.log: list[str] = []
        self._more = Signal()
        self._stderr = stderr
        self._ended = ended
        self._status: int | None = None
        self.url = self._listening()
        self._rest = threading.Thread(target=self._collect, daemon=True)
        self._rest.start()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self._status is None:
            os.kill(self.pid, number)

    def says(self, words: str, timeout: float = 60) -> None:
        """Return once the log has a line with these words. Raise AssertionError after `timeout` seconds."""
        self._more.wait_sync(lambda: any(words in line for line in self.log), timeout, lambda: "".join(self.log))

    def wait(self, timeout: float) -> int:
        """Return the exit status, once the log is complete. Raise `subprocess.TimeoutExpired`."""
        if self._status is None:
            self._status = self._ended(timeout)
            self._rest.join(timeout)
        return self._status

    def kill(self) -> None:
        """Kill the process if it is still there, and return when it has ended."""
        self.send_signal(signal.SIGKILL)
        self.wait(timeout=5)

    def _listening(self) -> str:
        url = ""
        for line in self._stderr:
            self.log.append(line)
            if found := LISTENING.search(line):
                url = found[1]
            if STARTED.search(line):
                return url
        raise AssertionError("the service did not start:\n" + "".join(self.log))

    def _collect(self) -> None:
        for line in self._stderr:
            self.log.append(line)
            self._more.notify()


class Nursery:
    """A process that starts the service fast: see `nursery.py`. `connection` leads to the process that forks it."""

    def __init__(self, connection: socket.socket) -> None:
        self.log: list[str] = []
        self.more = Signal()
        (its_orders, orders), (answers, its_answers), (errors, its_errors) = os.pipe(), os.pipe(), os.pipe()
        streams = [its_orders, its_answers, its_errors]
        socket.send_fds(connection, [b"*"], streams)
        for stream in streams:
            os.close(stream)
        self._orders = os.fdopen(orders, "w")
        self._answers = os.fdopen(answers)
        self._errors = os.fdopen(errors)
        self._collecting = threading.Thread(target=self._collect, daemon=True)
        self._collecting.start()

    def start(self, program: str, environment: Mapping[str, str], **more: Any) -> int:
        """Start a program that is a function, as `module:function`, and return its process id."""
        return self._tell({"start": program, "environment": dict(environment), **more})

    def load(self, module: str) -> None:
        """Import a module, so that the processes that are started later have it."""
        self._tell({"load": module})

    def wait(self, pid: int, timeout: float | None = None) -> int:
        """Wait for a process that was started, and return its exit status. Raise `subprocess.TimeoutExpired`."""
        if timeout is not None:
            ended = os.pidfd_open(pid)
            try:
                if not select.select([ended], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(f"process {pid}", timeout)
            finally:
                os.close(ended)
        return self._tell({"wait": pid})

    def close(self) -> None:
        """End the nursery and all processes that it has started."""
        self._orders.close()
        self._collecting.join()
        self._answers.close()

    def _tell(self, order: Mapping[str, Any]) -> int:
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        if answer := self._answers.readline():
            return int(answer)
        raise AssertionError("the nursery has ended:\n" + "".join(self.log[-30:]))

    def _collect(self) -> None:
        with self._errors:
            for line in self._errors:
                self.log.append(line)
                self.more.notify()


@contextmanager
def opened_nursery(name: str | None = None, /, **environment: str) -> Iterator[Nursery]:
    """A nursery that can start any number of services.

    It is forked from a process that is warm: starting one takes 2 s of CPU. Test processes that give the same `name`
    share it, and the first of them starts it. Without a name it is not shared.
    """
    address = f"\0agent-stream-nursery-{name or uuid.uuid4()}"  # in Linux's abstract namespace, so it is not a file
    with ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX))
        with one_at_a_time("nursery"):
            if listening := _first_to_listen(address):
                stack.enter_context(_warm_process(listening, environment))
            connection.connect(address)
        yield stack.enter_context(closing(Nursery(connection)))


def _first_to_listen(address: str) -> socket.socket | None:
    """Listen at an address. Return None if another process does."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    listening.listen()
    return listening


@contextmanager
def _warm_process(listening: socket.socket, environment: Mapping[str, str]) -> Iterator[None]:
    """The process that forks the nurseries, until the end of the test process that has started it."""
    paths = (ROOT, ROOT / "tests", ROOT / "tests/support", ROOT / "clients/python")
    with _interrupt_not_ignored(), listening:
        process = subprocess.Popen(
            [sys.executable, "tests/support/nursery.py", str(listening.fileno())],
            cwd=ROOT,
            env=environment_of({"PYTHONPATH": ":".join(map(str, paths))} | dict(environment)),
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
        )
    with process:  # closes its input, and waits for its end
        yield


@contextmanager
def forked_app(
    nursery: Nursery, files: int | None = None, inherits: Path | None = None, /, **environment: str
) -> Iterator[Process]:
    """Like `python app.py`, in a fraction of the time: the interpreter is already running and the code imported.

    The service may open `files` files, and inherits the open file `inherits`. If its data directory doesn't exist, it
    is made, with a migrated database.
    """
    with TemporaryDirectory(dir=FAST_DISK, ignore_cleanup_errors=True) as directory:
        stderr = f"{directory}/stderr"
        os.mkfifo(stderr)
        settings = {"DATA_DIR": f"{directory}/data"} | environment
        data = settings["DATA_DIR"]
        more = {} if Path(data).exists() else {"new_data": data}
        if inherits is not None:
            more["inherits"] = str(inherits)
        pid = nursery.start("app:main", settings, stderr=stderr, files=files, **more)
        with open(stderr) as log, _running(pid, log, partial(nursery.wait, pid)) as running:  # noqa: PTH123
            yield running


def environment_of(given: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without the service's settings, and with these variables."""
    outside = {name: value for name, value in os.environ.items() if name.lower() not in Settings.model_fields}
    return {**outside, "PORT": "0", "MARKETPLACE_URL": "", **given}


def free_port() -> int:
    """A port on which a service can start more than once.

    It is below those that the kernel assigns to clients: one of them could hold it while no service does.
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
    """Let a process started inside be interrupted.

    A shell starts background jobs with SIGINT ignored, and their child processes inherit that.
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
def _running(pid: int, stderr: IO[str], ended: Callable[[float], int]) -> Iterator[Process]:
    """The started process, killed at the end. Its log is printed if the test fails."""
    running: Process | None = None
    try:
        running = Process(pid, stderr, ended)
        yield running
    except BaseException:
        sys.stderr.writelines([] if running is None else running.log)
        raise
    finally:
        if running is None:
            os.kill(pid, signal.SIGKILL)
            ended(5)
        else:
            running.kill()
