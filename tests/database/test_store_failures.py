"""Promise 9: a log or a database that can't be written refuses new runs at once, loses nothing, and comes back."""

import json
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from grammar import check_grammar, parse_frames
from process import Nursery, Process, forked_app
from service import DATABASE, NOWHERE, SIMULATE, STREAM, checked, names, only, service, text
from wire import Done, Finish, Gate, Text, WaitFor, answer

SOON_S = 2.0
LATER_S = 10.0
UNLIMITED = resource.RLIM_INFINITY


@contextmanager
def full_disk(app: Process) -> Iterator[None]:
    """No file of the process can grow any more, as on a full disk."""
    resource.prlimit(app.pid, resource.RLIMIT_FSIZE, (0, UNLIMITED))
    try:
        yield
    finally:
        resource.prlimit(app.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))


def refused_at_once(client: httpx.Client, path: str, body: dict[str, Any]) -> str:
    """The code of a 503 with Retry-After or none, which came within two seconds."""
    started = time.monotonic()
    response = client.post(path, json=body, headers={"Accept": "application/json"})
    assert time.monotonic() - started < SOON_S + 0.5
    assert response.status_code == 503, response.text
    code: str = response.json()["error"]["code"]
    return code


def until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + LATER_S
    while (ready := client.get("/ready")).status_code != 200:
        assert time.monotonic() < deadline, ready.text


def test_a_full_disk_tears_the_streams_and_ends_the_runs_when_it_is_over(nursery: Nursery) -> None:
    """No clean end, new runs 503 within 2 s, alive but not ready; then it continues, without a restart or a gap."""
    gate = Gate()
    with (
        FakeDedalus.in_thread() as fake,
        forked_app(nursery, DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="m") as app,
        httpx.Client(base_url=app.url, timeout=30) as client,
    ):
        fake.turn(Text("one "), WaitFor(gate), Text("two"), Finish("stop"), Done())
        with client.stream("POST", STREAM, json={"input": "?", "session_id": "chat"}) as response:
            pieces, body = response.iter_raw(), b""
            while b'"one "' not in body:
                body += next(pieces)
            run_id = response.headers["x-run-id"]
            with full_disk(app):
                gate.open()
                with pytest.raises(httpx.RemoteProtocolError):
                    body += b"".join(pieces)
                for path in (STREAM, SIMULATE, "/api/agent/runs", "/api/agent/execute"):
                    assert refused_at_once(client, path, {"input": "?"}) in {"log_unavailable", "store_unavailable"}
                assert client.get("/health").status_code == 200
                assert client.get("/ready").status_code == 503
        until_ready(client)
        while client.get(f"/api/agent/runs/{run_id}").json()["status"] == "running":
            pass  # its end is tried again once a second
        events = parse_frames(client.get(f"/api/agent/runs/{run_id}/events").content)
        seen = parse_frames(body, prefix=True)
        fake.turn(*answer("Hello again"))
        after = client.post(STREAM, json={"input": "!", "session_id": "chat"})
        run = client.get(f"/api/agent/runs/{run_id}").json()
    check_grammar(events)
    assert events[: len(seen)] == seen
    assert only(events, "error")[0]["code"] == run["error"]["code"] == "log_unavailable"
    assert text(checked(after.content)) == "Hello again"
    assert fake.chats[-1].body["messages"][0]["content"] == "?"


def test_a_locked_database_refuses_what_needs_it(nursery: Nursery, tmp_path: Path) -> None:
    """Another process that holds the database: 503 within two seconds; afterwards all is as it was."""
    with (
        forked_app(nursery, DEDALUS_BASE_URL=NOWHERE, DEFAULT_MODEL="m", DATA_DIR=str(tmp_path)) as app,
        httpx.Client(base_url=app.url, timeout=30) as client,
        closing(sqlite3.connect(tmp_path / "agent_stream.db", isolation_level=None)) as other,
    ):
        until_ready(client)
        other.execute("BEGIN IMMEDIATE")
        assert refused_at_once(client, STREAM, {"input": "?", "session_id": "chat"}) == "store_unavailable"
        assert refused_at_once(client, "/api/agent/runs", {"input": "?", "metadata": {"a": "b"}}) == "store_unavailable"
        assert client.get("/ready").json()["error"]["code"] == "store_unavailable"
        assert client.get("/health").status_code == 200
        other.execute("ROLLBACK")
        until_ready(client)
        assert client.get("/api/agent/sessions/chat").status_code == 404
        assert client.get("/api/agent/runs").json() == {"runs": []}
        first = client.post(SIMULATE, json={"delay_ms": 0})
        assert client.get(f"/api/agent/runs/{first.headers['x-run-id']}").json()["status"] == "succeeded"


@pytest.mark.anyio
async def test_events_are_read_while_the_database_is_unavailable(tmp_path: Path) -> None:
    """A run that has ended is replayed from the log, which has its owner, too; its record has to wait."""
    async with service(NOWHERE, data_dir=tmp_path) as agent:
        whole = await agent.post(SIMULATE, {"delay_ms": 0})
        run = f"/api/agent/runs/{whole.headers['x-run-id']}"
        await agent.app.state.write_behind.flush()
        assert (await agent.client.get(run)).json()["status"] == "succeeded"
        await agent.app.state.database._connections.reading.dispose()
        moved = (tmp_path / DATABASE).rename(tmp_path / "moved")
        (tmp_path / DATABASE).mkdir()
        assert (await agent.client.get(run)).json()["error"]["code"] == "store_unavailable"
        assert (await agent.client.get(f"{run}/events")).content == whole.content
        assert (await agent.client.get("/api/agent/runs/run_1/events")).status_code == 404
        (tmp_path / DATABASE).rmdir()
        moved.rename(tmp_path / DATABASE)
        assert (await agent.client.get(run)).json()["status"] == "succeeded"


def test_a_run_continues_while_its_record_has_to_wait(nursery: Nursery, tmp_path: Path) -> None:
    """The log is the truth: a run that is under way ends as it would, and its record follows."""
    gate = Gate()
    with (
        FakeDedalus.in_thread() as fake,
        forked_app(nursery, DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="m", DATA_DIR=str(tmp_path)) as app,
        httpx.Client(base_url=app.url, timeout=30) as client,
        closing(sqlite3.connect(tmp_path / "agent_stream.db", isolation_level=None)) as other,
    ):
        fake.turn(Text("one "), WaitFor(gate), *answer("two"))
        with client.stream("POST", STREAM, json={"input": "?", "session_id": "chat"}) as response:
            pieces, body = response.iter_raw(), b""
            while b'"one "' not in body:
                body += next(pieces)
            other.execute("BEGIN IMMEDIATE")
            gate.open()
            body += b"".join(pieces)
        other.execute("ROLLBACK")
        until_ready(client)
        run = client.get(f"/api/agent/runs/{response.headers['x-run-id']}").json()
        kept = client.get("/api/agent/sessions/chat/messages").json()["messages"]
    assert text(checked(body)) == "one two"
    assert run["status"] == "succeeded"
    assert [message["content"] for message in kept] == ["?", "one two"]


@pytest.mark.parametrize("log", ["", "memory://"])
def test_a_second_server_on_the_same_directory_is_refused(nursery: Nursery, log: str, tmp_path: Path) -> None:
    """It says which directory, and what to do, and the first one continues; wherever the events are."""
    directory = {"DEDALUS_BASE_URL": NOWHERE, "DATA_DIR": str(tmp_path), "EVENT_LOG_URL": log}
    with forked_app(nursery, **directory) as app:
        httpx.get(app.url + "/health")  # it has the directory, now that it answers
        with forked_app(nursery, **directory) as second:
            assert second.wait(timeout=20) != 0
            [said] = [line for line in second.log if "can't start" in line]
            assert "in use by another server: stop that one, or set another DATA_DIR" in said
        assert httpx.get(app.url + "/ready").status_code == 200


def test_a_killed_server_leaves_nothing_locked(nursery: Nursery, tmp_path: Path) -> None:
    """The lock goes with the process; the run that it left open is ended at the next start, with its open call."""
    with forked_app(nursery, DEDALUS_BASE_URL=NOWHERE, DATA_DIR=str(tmp_path)) as app:
        body = {"scenario": "default", "delay_ms": 150}
        with httpx.stream("POST", app.url + SIMULATE, json=body, timeout=30) as response:
            pieces, seen = response.iter_raw(), b""
            while b"event: tool_use\n" not in seen:
                seen += next(pieces)
            app.kill()
            app.wait(5)
    run_id = response.headers["x-run-id"]
    with (
        forked_app(nursery, DEDALUS_BASE_URL=NOWHERE, DATA_DIR=str(tmp_path)) as app,
        httpx.Client(base_url=app.url) as client,
    ):
        whole = client.get(f"/api/agent/runs/{run_id}/events").content
        events = checked(whole)
        run = client.get(f"/api/agent/runs/{run_id}").json()
        log = "".join(app.log)
    assert whole.removeprefix(b": ping\n\n").startswith(seen[: seen.rindex(b"\n\n") + 2].removeprefix(b": ping\n\n"))
    assert names(events)[-3:] == ["tool_result", "error", "complete"]
    assert only(events, "tool_result")[0]["is_error"] is True
    [error] = only(events, "error")
    assert (error["code"], run["error"], run["status"]) == ("interrupted", error, "failed")
    assert error["request_id"] in log
    assert json.dumps(run["last_seq"]) == str(events[-1]["seq"])


def test_what_callers_said_is_for_the_service_alone(nursery: Nursery, tmp_path: Path) -> None:
    """No file of the data directory can be read by another user of the machine."""
    with (
        forked_app(nursery, DEDALUS_BASE_URL=NOWHERE, DATA_DIR=str(tmp_path)) as app,
        httpx.Client(base_url=app.url) as client,
    ):
        until_ready(client)
        client.post(SIMULATE, json={"delay_ms": 0})
        made = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert {file.name for file in made} >= {"agent_stream.db", "lock"}
        assert [file for file in made if file.stat().st_mode & 0o077] == []


def test_a_directory_that_can_t_be_used_is_said_at_the_start(nursery: Nursery, tmp_path: Path) -> None:
    """Such as a DATA_DIR that is a file: the line names it, and the process ends."""
    (tmp_path / "taken").write_text("")
    with forked_app(nursery, DEDALUS_BASE_URL=NOWHERE, DATA_DIR=str(tmp_path / "taken")) as app:
        assert app.wait(timeout=20) != 0
        [said] = [line for line in app.log if "can't start" in line]
    assert str(tmp_path / "taken") in said


def test_a_damaged_log_holds_up_neither_the_start_nor_the_other_runs(nursery: Nursery, tmp_path: Path) -> None:
    """Its run is ended as far as that goes; what was not damaged is as it was, and new runs start and are recorded."""
    directory = {"DEDALUS_BASE_URL": NOWHERE, "DATA_DIR": str(tmp_path)}
    with forked_app(nursery, **directory) as app:
        whole = httpx.post(app.url + SIMULATE, json={"delay_ms": 0}).content
        body = {"scenario": "long", "delay_ms": 20}
        with httpx.stream("POST", app.url + SIMULATE, json=body, timeout=30) as response:
            pieces, seen = response.iter_raw(), b""
            while b"id: 9\n" not in seen:
                seen += next(pieces)
            app.kill()
            app.wait(5)
    damaged, run_id = tmp_path / "runs" / "active" / f"{response.headers['x-run-id']}.sse", response.headers["x-run-id"]
    damaged.write_bytes(damaged.read_bytes().replace(b'"seq":5,', b'"seq":!,'))
    with forked_app(nursery, **directory) as app, httpx.Client(base_url=app.url, timeout=30) as client:
        until_ready(client)
        run = client.get(f"/api/agent/runs/{run_id}").json()
        events = client.get(f"/api/agent/runs/{run_id}/events").content
        first = parse_frames(whole)[0]["run_id"]
        assert client.get(f"/api/agent/runs/{first}/events").content == whole
        new = checked(client.post(SIMULATE, json={"delay_ms": 0}).content)
        listed = client.get("/api/agent/runs").json()["runs"]
    assert (run["status"], run["error"]["code"]) == ("failed", "interrupted")
    assert events.count(b"event: complete\n") == 1
    assert {listed_run["run_id"]: listed_run["status"] for listed_run in listed} == {
        first: "succeeded",
        run_id: "failed",
        new[0]["run_id"]: "succeeded",
    }
