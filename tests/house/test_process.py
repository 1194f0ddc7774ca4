"""Tests the service as a process: signals, draining, and the real embedded model."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from client_programs import read_until
from fake_dedalus import FakeDedalus
from forked_command import forked_command
from grammar import check_grammar, parse_frames
from process import DRAINING, MODEL_LOADED, ROOT, Nursery, environment_of, forked_app
from scripted_gguf import PLAIN_TEMPLATE, write_model
from service import EXECUTE, NOWHERE, SIMULATE, STREAM, checked, names, only, text
from wire import Done, Finish, Gate, Stall, Text, WaitFor

from services.upstreams.embedded_model import MODEL_ID

STATUS_AFTER_SIGTERM = -signal.SIGTERM


def test_sigterm_lets_a_run_end_and_its_reader_have_all_of_it(nursery: Nursery) -> None:
    """Promise 1: during the drain the server refuses new runs with Retry-After and loses no event."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, forked_app(nursery, DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="m") as app:
        fake.turn(Text("one "), WaitFor(gate), Text("two"), Finish("stop"), Done())
        with (
            httpx.Client(base_url=app.url, timeout=30) as client,
            client.stream("POST", STREAM, json={"input": "?"}) as response,
        ):
            pieces = response.iter_raw()
            body = b""
            while b'"one "' not in body:
                body += next(pieces)
            app.send_signal(signal.SIGTERM)
            app.says(DRAINING)
            with httpx.Client(base_url=app.url) as other:
                ready = other.get("/ready")
                refused = other.post(STREAM, json={"input": "?"}, headers={"Accept": "application/json"})
                alive = other.get("/health")
            gate.open()
            body += b"".join(pieces)
        assert app.wait(timeout=10) == STATUS_AFTER_SIGTERM
    assert (ready.status_code, refused.status_code, alive.status_code) == (503, 503, 200)
    assert refused.json()["error"]["code"] == "server_draining"
    assert int(refused.headers["retry-after"]) > 0
    assert text(checked(body)) == "one two"


def test_a_run_that_does_not_end_is_reported_to_its_readers_and_the_process_ends_in_time(nursery: Nursery) -> None:
    """In the drain's last two seconds readers get `draining` and a clean end, and the process ends in time."""
    with (
        FakeDedalus.in_thread() as fake,
        forked_app(nursery, DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="m", DRAIN_S="3") as app,
    ):
        fake.turn(Text("one"), Stall())
        with (
            httpx.Client(base_url=app.url, timeout=30) as client,
            client.stream("POST", STREAM, json={"input": "?"}) as response,
        ):
            pieces = response.iter_raw()
            body = b""
            while b'"one"' not in body:
                body += next(pieces)
            started = time.monotonic()
            app.send_signal(signal.SIGTERM)
            body += b"".join(pieces)
        app.wait(timeout=10)
        assert time.monotonic() - started < 8
    assert body.endswith(b"event: draining\nretry: 2000\n\n")
    check_grammar(parse_frames(body), prefix=True)


def test_a_run_that_does_not_end_is_reported_to_a_caller_that_waits_for_its_answer(nursery: Nursery) -> None:
    """At the end of the drain /execute returns a 503 with the usual error body, which agrees with the run's log."""
    with (
        FakeDedalus.in_thread() as fake,
        forked_app(nursery, DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="m", DRAIN_S="3") as app,
        ThreadPoolExecutor() as threads,
    ):
        fake.turn(Text("one"), Stall())
        asked = threads.submit(httpx.post, app.url + EXECUTE, json={"input": "?"}, timeout=30)
        fake.wait_for_requests_sync(1)
        app.send_signal(signal.SIGTERM)
        answered = asked.result(timeout=20)
        app.wait(timeout=10)
    assert (answered.status_code, answered.json()["error"]["code"]) == (503, "interrupted")


def test_ctrl_c_says_nothing_but_goodbye(nursery: Nursery) -> None:
    """Ctrl-C prints no traceback."""
    with forked_app(nursery, DEDALUS_BASE_URL=NOWHERE) as app:
        while httpx.get(app.url + "/ready").status_code != 200:
            pass
        app.send_signal(signal.SIGINT)
        app.wait(timeout=10)
        assert "Traceback" not in "".join(app.log)


def test_an_idle_server_stops_at_once(nursery: Nursery) -> None:
    """With no run under way the server stops at once, on SIGTERM and on Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with forked_app(nursery, DEDALUS_BASE_URL=NOWHERE) as app:
            app.send_signal(number)
            app.wait(timeout=5)


def test_a_second_signal_does_not_wait(nursery: Nursery) -> None:
    """It ends the drain: the stream ends with `draining`, the JSON answer is a 503, and no traceback is printed."""
    with (
        FakeDedalus.in_thread() as fake,
        forked_app(nursery, DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="m") as app,
        ThreadPoolExecutor() as threads,
    ):
        fake.always(Text("one"), Stall())
        with (
            httpx.Client(base_url=app.url, timeout=30) as client,
            client.stream("POST", STREAM, json={"input": "?"}) as response,
        ):
            pieces = response.iter_raw()
            next(pieces)
            asked = threads.submit(httpx.post, app.url + EXECUTE, json={"input": "?"}, timeout=30)
            fake.wait_for_requests_sync(2)
            app.send_signal(signal.SIGINT)
            app.says(DRAINING)
            app.send_signal(signal.SIGINT)
            body = b"".join(pieces)
        app.wait(timeout=8)
    assert body.endswith(b"event: draining\nretry: 2000\n\n")
    assert (asked.result().status_code, asked.result().json()["error"]["code"]) == (503, "interrupted")
    assert "Traceback" not in "".join(app.log)


@dataclass(frozen=True)
class Embedded:
    """A service with nothing configured, and how it answered while it loaded its embedded model."""

    url: str
    not_ready: list[str]
    """The error codes of /ready."""
    took_s: float
    slowest_check_s: float


@pytest.fixture(scope="module")
def embedded(nursery: Nursery) -> Iterator[Embedded]:
    """Loading the model takes two seconds of CPU, so it is loaded once."""
    with forked_app(nursery) as app, httpx.Client(base_url=app.url, timeout=30) as client:
        began, slowest, not_ready = time.monotonic(), 0.0, []
        while (ready := client.get("/ready")).status_code == 503:
            not_ready.append(ready.json()["error"]["code"])
            started = time.monotonic()
            assert client.get("/health").status_code == 200
            slowest = max(slowest, time.monotonic() - started)
        yield Embedded(app.url, not_ready, time.monotonic() - began, slowest)


def test_loading_the_model_never_holds_up_the_health_check(embedded: Embedded) -> None:
    """While the model loads, /health responds at once, and /ready says why the service isn't ready."""
    assert set(embedded.not_ready) == {"local_model_unavailable"}
    # loading in the service's own process would delay one check for nearly all of this time
    assert embedded.slowest_check_s < embedded.took_s / 2


def test_with_nothing_configured_a_real_model_answers(embedded: Embedded) -> None:
    """Without a key or server, tokens of a real language model arrive through the SDK, one event at a time."""
    body = {
        "input": "What is the capital of France?",
        "instructions": "Answer in one short sentence in English.",
        "temperature": 0,
    }
    response = httpx.post(embedded.url + STREAM, json=body, timeout=60)
    events = checked(response.content)
    assert "Paris" in only(events, "final_output")[0]["content"]
    assert names(events).count("partial_output") > 3
    [complete] = only(events, "complete")
    assert complete["usage"]["output_tokens"] > 3


def test_the_embedded_model_is_shown(embedded: Embedded) -> None:
    """/ready and /models name the model once it is loaded."""
    httpx.post(embedded.url + EXECUTE, json={"input": "Hi", "max_tokens": 1}, timeout=60)
    ready = httpx.get(embedded.url + "/ready").json()
    models = httpx.get(embedded.url + "/api/agent/models").json()
    assert (ready["upstreams"], ready["default_model"]) == (["local"], MODEL_ID)
    assert [model["id"] for model in models["models"]] == [MODEL_ID]


def test_the_embedded_model_answers_for_another_model(embedded: Embedded) -> None:
    """With nothing configured, the service substitutes the named model, in the stream and in the JSON answer."""
    body = {"input": "Hi", "model": "openai/gpt-4.1", "max_tokens": 2}
    events = checked(httpx.post(embedded.url + STREAM, json=body, timeout=60).content)
    answered = httpx.post(embedded.url + EXECUTE, json=body, timeout=60).json()
    assert only(events, "run_started") == [{"model": MODEL_ID}]
    assert [warning["code"] for warning in only(events, "warning")] == ["model_substituted"]
    assert (answered["status"], answered["model"]) == ("succeeded", MODEL_ID)


def test_the_model_does_not_outlive_a_service_that_is_killed(nursery: Nursery, tmp_path: Path) -> None:
    """`kill -9` leaves no process: the model's ends when its standard input closes."""
    write_model(tmp_path / "small.gguf", PLAIN_TEMPLATE)
    with forked_app(nursery, EMBEDDED_MODEL=str(tmp_path / "small.gguf")) as app:
        app.says(MODEL_LOADED)
        [child] = Path(f"/proc/{app.pid}/task/{app.pid}/children").read_text().split()
        model = os.pidfd_open(int(child))
        app.kill()
        ended, _, _ = select.select([model], [], [], 10)
        os.close(model)
    assert ended


def modes(directory: Path) -> dict[str, int]:
    """Return the permissions of the group and of others for a directory and everything in it."""
    return {
        str(path.relative_to(directory)): path.stat().st_mode & 0o077 for path in [directory, *directory.rglob("*")]
    }


def test_what_is_stored_is_the_owner_s_alone_under_any_server(nursery: Nursery, tmp_path: Path) -> None:
    """Modes for the owner alone are set when files and folders are created.

    `uvicorn --factory app:create_app` sets no umask.
    """
    data = tmp_path / "new" / "data"
    environment = environment_of({"DATA_DIR": str(data), "DEDALUS_BASE_URL": NOWHERE})
    words = ("uvicorn", "--factory", "app:create_app", "--port", "0")
    with forked_command(nursery, *words, env=environment, umask=0o022) as server:
        assert server.stderr is not None
        [_, url] = re.split(r"running on (?=http)", read_until(server.stderr, "(Press CTRL+C to quit)"))
        run = httpx.post(url.split()[0] + SIMULATE, json={"delay_ms": 0, "session_id": "s"}, timeout=30)
        assert run.status_code == 200
        stored = modes(data)
        server.send_signal(signal.SIGTERM)
        server.communicate()
    assert {"agent_stream.db", "agent_stream.db-wal", "lock", "runs/active"} <= stored.keys()
    assert any(name.endswith(".sse") for name in stored)
    assert set(stored.values()) == {0}


def test_a_port_that_is_taken_is_named_with_what_to_set(nursery: Nursery) -> None:
    """The last line on standard error names the port and the setting, and the exit status is 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = environment_of({"PORT": str(taken.getsockname()[1]), "DEDALUS_BASE_URL": NOWHERE})
        with forked_command(nursery, "app", env=environment) as refused:
            _, error = refused.communicate()
            assert refused.wait(5) == 1
    assert f"port {environment['PORT']}. Set PORT" in error.decode().splitlines()[-1]


def test_ctrl_c_during_the_imports_shows_no_traceback() -> None:
    """Imports take a second, in which a user may interrupt a mistaken command."""
    command = [sys.executable, "-X", "importtime", "app.py"]  # writes a line for each import
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as importing:
        assert importing.stderr is not None
        assert any("pydantic_core" in line for line in importing.stderr)
        importing.send_signal(signal.SIGINT)
        assert "Traceback" not in importing.stderr.read()
    assert importing.returncode == -signal.SIGINT


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"DEDALUS_BASE_URL": NOWHERE}, f"Model server: DEDALUS_BASE_URL, {NOWHERE}/"),
        ({"DEDALUS_API_KEY": "k"}, "Model server: Dedalus"),
        ({"OPENAI_API_KEY": "k", "GROQ_API_KEY": "k"}, "Model servers, called directly: openai, groq"),
        ({"EMBEDDED_MODEL": "off"}, "Only the scripted models can answer: "),
    ],
)
def test_the_start_says_which_model_server_answers(given: dict[str, str], line: str, nursery: Nursery) -> None:
    """The start logs the model server in one line, so that a wrong key is noticed before the first request."""
    with forked_app(nursery, MARKETPLACE_URL="", **given) as app:
        app.says(line)


def test_an_address_that_others_can_reach_is_warned_about(nursery: Nursery) -> None:
    """The start without authentication logs one warning for such an address, if it is allowed, and none otherwise."""
    with forked_app(nursery, HOST="0.0.0.0", ALLOW_ANONYMOUS="true", DEDALUS_BASE_URL=NOWHERE) as app:
        [warning] = [line for line in app.log if "authentication" in line]
    assert warning.startswith("WARNING")
    assert "HOST=0.0.0.0" in warning
    with forked_app(nursery, HOST="::1", DEDALUS_BASE_URL=NOWHERE) as app:
        assert not [line for line in app.log if "authentication" in line]
