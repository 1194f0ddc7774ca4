"""Starts the command-line client and the examples as programs."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

import httpx
from forked_command import ForkedCommand, forked_command
from process import ROOT, Nursery, Process, forked_app
from service import NOWHERE

CLIENT = "test_client.py"
PACKAGE = ROOT / "clients/python"
THOUGHT = "The user asks about the weather, so I need to look it up."
ANSWER = "You asked: Well? It is 3 °C in Oslo, with light snow. ❄️"
LONG = ("--simulate", "long", "--delay-ms", "20")
SLOW = ("--simulate", "slow", "--delay-ms", "1")
APPROVAL = ("--simulate", "approval", "--delay-ms", "1")
LOCATE = ("--simulate", "client_tool", "--delay-ms", "1")
BUDGET = ("--simulate", "budget", "--delay-ms", "1")
RAISE = "64 of 80 tokens spent. New total of tokens, or n to end the run: "
ASKED = 'Allow delete_folder {"folder": "drafts"}? y, n [reason] or e (edit): '
LAST_WAIT_S = 30
Program = subprocess.Popen[bytes] | ForkedCommand
NURSERY: ContextVar[Nursery] = ContextVar("NURSERY")


class Ended(NamedTuple):
    """The exit status and output of a program that has ended."""

    code: int
    out: str
    err: str


class Service(NamedTuple):
    """A running service."""

    process: Process

    @property
    def url(self) -> str:
        """The base URL."""
        return self.process.url

    @property
    def port(self) -> str:
        """The port, on which another service can replace this one."""
        return str(urlsplit(self.url).port)

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """The run's events so far."""
        return events(httpx.get(f"{self.url}/api/agent/runs/{run_id}/events?wait=false", trust_env=False).text)

    def run(self, run_id: str) -> dict[str, Any]:
        """The run's status and details."""
        found: dict[str, Any] = httpx.get(f"{self.url}/api/agent/runs/{run_id}", trust_env=False).json()
        return found


@contextmanager
def process(
    *command: str,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    terminal: int | None = None,
    stdin: int = subprocess.DEVNULL,
    forked: bool = True,
) -> Iterator[Program]:
    """A Python program of this project in an environment of its own, killed at the end if it is still running.

    It is forked from a process that has imported what it needs, unless `forked` is False.
    """
    outside = {name: os.environ[name] for name in ("PATH", "SSL_CERT_FILE") if name in os.environ}
    clean = {**outside, "PYTHONPATH": str(PACKAGE), "PYTHONUTF8": "1", "TERM": "xterm-256color", **env}
    script, *arguments = command
    if forked:
        named = ("test_client", *arguments) if script == CLIENT else ("forked_script", *command)
        with forked_command(
            NURSERY.get(), *named, env=clean, directory=cwd, stdin=stdin, terminal=terminal
        ) as started_fast:
            yield started_fast
            return
    # What pytest may have inherited as ignored, a child would inherit too; a caught signal is reset in the child.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    out, stdin = (subprocess.PIPE, stdin) if terminal is None else (terminal, terminal)
    started = subprocess.Popen(
        [sys.executable, ROOT / script, *arguments], cwd=cwd, env=clean, stdin=stdin, stdout=out, stderr=out, bufsize=0
    )
    signal.signal(signal.SIGINT, before)
    with started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def serving(nursery: Nursery, directory: Path, **settings: str) -> Iterator[Service]:
    """The service, without a model unless `settings` name one's address."""
    environment = {
        "DATA_DIR": str(directory),
        "DEDALUS_BASE_URL": NOWHERE,
        "DEFAULT_MODEL": "test/model",
        "DRAIN_S": "3",
    }
    with forked_app(nursery, **environment | settings) as process:
        yield Service(process)


def read_until(stream: IO[bytes] | None, *texts: str) -> str:
    """The output of a pipe, up to the last of these texts or a little more."""
    assert stream is not None
    seen = b""
    for text in texts:
        while text.encode() not in seen:
            piece = stream.read(4096)
            assert piece, f"it ended without {text!r}: {seen!r}"
            seen += piece
    return seen.decode(errors="replace")


def ended(running: Program) -> Ended:
    """The rest of a program's output, and its exit status."""
    out, err = running.communicate(timeout=LAST_WAIT_S)
    return Ended(running.wait(LAST_WAIT_S), out.decode(errors="replace"), err.decode(errors="replace"))


def run(*command: str, url: str, **env: str) -> Ended:
    """Run a program to its end."""
    with process(*command, env={"AGENT_STREAM_URL": url, **env}) as running:
        return ended(running)


def piped(text: bytes, *arguments: str, url: str) -> Ended:
    """Run the client to its end, with this text on its standard input."""
    with process(CLIENT, *arguments, env={"AGENT_STREAM_URL": url}, stdin=subprocess.PIPE) as running:
        out, err = running.communicate(text, LAST_WAIT_S)
        return Ended(running.wait(LAST_WAIT_S), out.decode(), err.decode())


def client(service: Service, *arguments: str) -> AbstractContextManager[Program]:
    """The client, while it runs."""
    return process(CLIENT, *arguments, env={"AGENT_STREAM_URL": service.url})


class Terminal(NamedTuple):
    """The client at a terminal."""

    process: Program
    screen: IO[bytes]

    def until(self, *texts: str) -> str:
        """The screen, up to the last of these texts or a little more."""
        return read_until(self.screen, *texts).replace("\r\n", "\n")

    def type(self, line: str) -> None:
        """Type a line."""
        self.screen.write(line.encode() + b"\n")

    def ended(self) -> Ended:
        """The rest of the screen, and the exit status."""
        shown = b""
        try:
            while piece := self.screen.read(4096):
                shown += piece
        except OSError:  # Linux raises it once no process has the terminal open any more
            pass
        return Ended(self.process.wait(LAST_WAIT_S), shown.decode(errors="replace").replace("\r\n", "\n"), "")


@contextmanager
def at_terminal(service: Service, *arguments: str) -> Iterator[Terminal]:
    """The client at a terminal, as a person runs it."""
    ours, its = pty.openpty()
    with open(ours, "r+b", buffering=0) as screen:  # noqa: PTH123 - a descriptor
        env = {"AGENT_STREAM_URL": service.url, "NO_COLOR": "1", "TERM": "dumb"}
        with process(CLIENT, *arguments, env=env, terminal=its) as running:
            os.close(its)
            yield Terminal(running, screen)


def events(out: str) -> list[dict[str, Any]]:
    """The events of `--json`."""
    return [json.loads(line) for line in out.splitlines()]


def run_id(text: str) -> str:
    """The id of the run that the output names."""
    found = re.search(r"run_[0-9a-f]{32}", text)
    assert found, text
    return found[0]
