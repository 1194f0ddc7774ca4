"""Tests what the service's child processes inherit: their pipes, and nothing that would outlive the service."""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import mcp_hands
import pytest
from process import Nursery, Process, forked_app, free_port
from scripted_gguf import PLAIN_TEMPLATE, write_model
from service import EXECUTE, NOWHERE

TOOLS = "/api/agent/mcp-servers/clock/tools"
LISTING = """
import os, pathlib, sys
file, *server = sys.argv[1:]
numbers = {int(name) for name in os.listdir("/proc/self/fd")}
left = sorted(number for number in numbers if os.path.lexists(f"/proc/self/fd/{number}"))
pathlib.Path(file).write_text(" ".join(map(str, left)))
os.execv(server[0], server)
"""
"""Writes down which descriptors it has, and becomes an MCP server."""

SERVER = mcp_hands.command({"now": b"", "convert": b""})
CLOCK = (SERVER["command"], *SERVER["args"])


def command(*words: str) -> str:
    """Return MCP_SERVERS with the server `clock`, started by this command."""
    return json.dumps({"clock": {"command": words[0], "args": words[1:]}})


def tools_of_clock(app: Process) -> list[str]:
    """Start the command by listing its tools."""
    answer = httpx.get(app.url + TOOLS, timeout=30)
    assert answer.status_code == 200, answer.text
    return [tool["name"] for tool in answer.json()["tools"]]


@pytest.fixture(scope="module")
def mcp_is_loaded(nursery: Nursery) -> None:
    """Load the MCP client into the nursery: each service would import it, for 0.7 s."""
    nursery.load("services.mcp.servers")


@pytest.mark.usefixtures("mcp_is_loaded")
def test_a_command_has_its_three_pipes_and_nothing_else(nursery: Nursery, tmp_path: Path) -> None:
    """It inherits neither the listening socket, on which it could answer for the service, nor the descriptors that
    the service inherited.
    """
    seen, inherited = tmp_path / "seen", tmp_path / "inherited"
    inherited.touch()
    servers = command(sys.executable, "-c", LISTING, str(seen), *CLOCK)
    with forked_app(nursery, None, inherited, MCP_SERVERS=servers, DEDALUS_BASE_URL=NOWHERE) as app:
        assert len(tools_of_clock(app)) == 2
        assert str(inherited) in open_files(app.pid)
    assert seen.read_text() == "0 1 2"


def test_the_embedded_model_has_its_pipes_and_what_it_opens_itself(nursery: Nursery, tmp_path: Path) -> None:
    """It inherits neither the listening socket nor the connection of the request that started it."""
    file = tmp_path / "small.gguf"
    write_model(file, PLAIN_TEMPLATE)
    with forked_app(nursery, EMBEDDED_MODEL=str(file)) as app:
        httpx.post(app.url + EXECUTE, json={"input": "Hi", "max_tokens": 1}, timeout=60)
        [model] = [child for child in children(app.pid) if str(file) in Path(f"/proc/{child}/cmdline").read_text()]
        assert shared(app.pid, model) == {os.devnull}


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def shared(one: int, other: int) -> set[str]:
    """Return the files that are open in both processes."""
    return open_files(one) & open_files(other)


def open_files(pid: int) -> set[str]:
    """Return the files that a process has open. Those that it closes meanwhile are left out."""
    files = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            files.add(str(descriptor.readlink()))
    return files


@pytest.mark.usefixtures("mcp_is_loaded")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_helper_that_stays_keeps_neither_the_port_nor_the_data(
    nursery: Nursery, tmp_path: Path, number: signal.Signals
) -> None:
    """After a command leaves a process behind, the next service starts at once on the same port and directory."""
    helper = tmp_path / "helper"
    script = f'sleep 300 & echo $! > {helper}; exec "$@"'
    environment = {
        "MCP_SERVERS": command("setsid", "sh", "-c", script, "sh", *CLOCK),
        "DEDALUS_BASE_URL": NOWHERE,
        "PORT": str(free_port()),
        "DATA_DIR": str(tmp_path / "data"),
        "DRAIN_S": "3",
    }
    with forked_app(nursery, **environment) as app:
        assert len(tools_of_clock(app)) == 2
        started = time.monotonic()
        app.send_signal(number)
        app.wait(timeout=15)
        took = time.monotonic() - started
    pid = int(helper.read_text())
    try:
        assert Path(f"/proc/{pid}/cmdline").read_text().startswith("sleep")
        with forked_app(nursery, **environment) as again:
            assert httpx.get(f"{again.url}/health").status_code == 200
    finally:
        os.kill(pid, signal.SIGKILL)
    assert took < 8
