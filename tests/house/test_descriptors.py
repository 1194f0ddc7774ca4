"""Tests that runs and connections stay within the limit on open files, and that health checks always get a response."""

import re
import signal
import socket
from itertools import cycle
from pathlib import Path

import httpx
from fake_dedalus import FakeDedalus
from process import Nursery, Process, forked_app
from service import NOWHERE, STREAM, checked, text
from wire import Finish, Gate, Text, WaitFor

from descriptors import OTHERS, READERS, RUN

RUNS = "/api/agent/runs"
FILES = 256
HELD = (FILES - OTHERS - READERS) // (RUN + 1)


def files_open(app: Process) -> int:
    return len(list(Path(f"/proc/{app.pid}/fd").iterdir()))


def healthy(app: Process) -> bool:
    """Return whether a health check on a new connection gets a response."""
    return httpx.get(f"{app.url}/health", timeout=5).status_code == 200


def status(connection: socket.socket) -> int:
    """Return the status of the response, once the connection has ended."""
    with connection, connection.makefile("rb") as answer:
        return int(answer.read().split(b" ", 2)[1])


def test_runs_without_enough_files_are_refused_and_others_continue(nursery: Nursery) -> None:
    """Accepted runs succeed, and the next one is a 503. The log says how many runs are possible."""
    gate = Gate()
    with (
        FakeDedalus.in_thread() as fake,
        forked_app(nursery, FILES, DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="m") as app,
    ):
        fake.always(Text("one "), WaitFor(gate), Text("two"), Finish())
        with httpx.Client(base_url=app.url, timeout=30, limits=httpx.Limits(max_connections=None)) as client:
            requests = [client.build_request("POST", STREAM, json={"input": "?"}) for _ in range(HELD)]
            streams = [client.send(request, stream=True) for request in requests]
            assert {stream.status_code for stream in streams} == {200}
            refused = client.post(STREAM, json={"input": "?"})
            assert (refused.status_code, healthy(app)) == (503, True)
            assert client.get(RUNS).status_code == 200
            assert files_open(app) < FILES
            gate.open()
            assert {text(checked(stream.read())) for stream in streams} == {"one two"}
    [line] = [line for line in app.log if "ulimit -n" in line]
    assert f"MAX_CONCURRENT_RUNS is reduced to {HELD} from 1000" in line


def test_silent_connections_do_not_use_up_the_files(nursery: Nursery) -> None:
    """Requests get responses while more silent connections than the limit on open files stay connected."""
    with forked_app(nursery, FILES, DEDALUS_BASE_URL=NOWHERE) as app:
        host, port = re.findall(r"//(.*):(.*)", app.url)[0]
        silent = [socket.create_connection((host, int(port))) for _ in range(FILES + 50)]
        for _ in range(5):
            assert healthy(app)
        assert httpx.get(f"{app.url}/api/agent/models").status_code == 200
        assert files_open(app) < FILES - 20
        for connection in silent:
            connection.close()
    assert not [line for line in app.log if "Too many open files" in line]


def test_a_flood_of_requests_is_answered_one_and_all(nursery: Nursery) -> None:
    """With more simultaneous requests than connections allowed, none is closed before its response."""
    with forked_app(nursery, FILES, DEDALUS_BASE_URL=NOWHERE) as app:
        host, port = re.findall(r"//(.*):(.*)", app.url)[0]
        app.send_signal(signal.SIGSTOP)
        flood = [socket.create_connection((host, int(port))) for _ in range(2 * FILES)]
        for connection, path in zip(flood, cycle(["/health", RUNS]), strict=False):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        app.send_signal(signal.SIGCONT)
        answered = [status(connection) for connection in flood]
    assert set(answered[::2]) == {200}
    assert set(answered[1::2]) <= {200, 503}


def test_enough_files_change_nothing(nursery: Nursery) -> None:
    """If the limit can be raised as far as needed, it is raised and nothing is logged."""
    with forked_app(nursery, 20_000, DEDALUS_BASE_URL=NOWHERE) as app:
        limit = Path(f"/proc/{app.pid}/limits").read_text()
        assert healthy(app)
    assert int(re.findall(r"Max open files\s+(\d+)", limit)[0]) > 2000
    assert not [line for line in app.log if "ulimit" in line]
