"""The service as a process: signals, draining, and the embedded model for real."""

import os
import select
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fake_dedalus import FakeDedalus
from grammar import check_grammar, parse_frames
from process import app_process
from service import EXECUTE, NOWHERE, STREAM, checked, names, only, text
from wire import Done, Finish, Gate, Stall, Text, WaitFor

from services.local_model import MODEL_ID

STATUS_AFTER_SIGTERM = -signal.SIGTERM


def test_sigterm_lets_a_run_end_and_its_reader_have_all_of_it() -> None:
    """Promise 1: while it drains the server listens, refuses new runs with Retry-After, and loses no event."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake, app_process(DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="m") as app:
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
            with httpx.Client(base_url=app.url) as other:
                while (ready := other.get("/ready")).status_code == 200:
                    pass
                refused = other.post(STREAM, json={"input": "?"}, headers={"Accept": "application/json"})
                alive = other.get("/health")
            gate.open()
            body += b"".join(pieces)
        assert app.wait(timeout=10) == STATUS_AFTER_SIGTERM
    assert (ready.status_code, refused.status_code, alive.status_code) == (503, 503, 200)
    assert refused.json()["error"]["code"] == "server_draining"
    assert int(refused.headers["retry-after"]) > 0
    assert text(checked(body)) == "one two"


def test_a_run_that_does_not_end_is_told_to_its_readers_and_the_process_is_gone_in_time() -> None:
    """The drain's last two seconds: readers get `draining` and a clean end; the process is gone in time."""
    with FakeDedalus.in_thread() as fake, app_process(DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="m", DRAIN_S="3") as app:
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


def test_a_run_that_does_not_end_is_told_to_who_waits_for_its_answer() -> None:
    """At the end of the drain /execute answers 503 with the one error body, as the run's log says."""
    with (
        FakeDedalus.in_thread() as fake,
        app_process(DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="m", DRAIN_S="3") as app,
        ThreadPoolExecutor() as threads,
    ):
        fake.turn(Text("one"), Stall())
        asked = threads.submit(httpx.post, app.url + EXECUTE, json={"input": "?"}, timeout=30)
        fake.wait_for_requests_sync(1)
        app.send_signal(signal.SIGTERM)
        answered = asked.result(timeout=20)
        app.wait(timeout=10)
    assert (answered.status_code, answered.json()["error"]["code"]) == (503, "interrupted")


def test_ctrl_c_says_nothing_but_goodbye() -> None:
    """No traceback."""
    with app_process(DEDALUS_BASE_URL=NOWHERE) as app:
        while httpx.get(app.url + "/ready").status_code != 200:
            pass
        app.send_signal(signal.SIGINT)
        app.wait(timeout=10)
        assert "Traceback" not in "".join(app.log)


def test_an_idle_server_stops_at_once() -> None:
    """With nothing under way there is nothing to wait for, for SIGTERM as for Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with app_process(DEDALUS_BASE_URL=NOWHERE) as app:
            app.send_signal(number)
            app.wait(timeout=5)


def test_a_second_signal_does_not_wait() -> None:
    """Whoever presses Ctrl-C twice means it."""
    with FakeDedalus.in_thread() as fake, app_process(DEDALUS_BASE_URL=fake.url, DEFAULT_MODEL="m") as app:
        fake.turn(Text("one"), Stall())
        with (
            httpx.Client(base_url=app.url, timeout=30) as client,
            client.stream("POST", STREAM, json={"input": "?"}) as response,
        ):
            next(response.iter_raw())
            app.send_signal(signal.SIGINT)
            while client.get("/ready").status_code == 200:
                pass
            app.send_signal(signal.SIGINT)
            app.wait(timeout=8)


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    """A service with nothing configured, which therefore serves its embedded model."""
    with app_process() as app:
        yield app.url


def test_with_nothing_configured_a_real_model_answers(embedded: str) -> None:
    """No key, no server: tokens of a real language model, through the SDK, one event after the other."""
    body = {
        "input": "What is the capital of France?",
        "instructions": "Answer in one short sentence in English.",
        "temperature": 0,
    }
    response = httpx.post(embedded + STREAM, json=body, timeout=60)
    events = checked(response.content)
    assert "Paris" in only(events, "final_output")[0]["content"]
    assert names(events).count("partial_output") > 3
    [complete] = only(events, "complete")
    assert complete["usage"]["output_tokens"] > 3


def test_the_embedded_model_is_shown(embedded: str) -> None:
    """/ready and /models name it once it is loaded."""
    httpx.post(embedded + EXECUTE, json={"input": "Hi", "max_tokens": 1}, timeout=60)
    ready = httpx.get(embedded + "/ready").json()
    models = httpx.get(embedded + "/api/agent/models").json()
    assert (ready["upstreams"], ready["default_model"]) == (["local"], MODEL_ID)
    assert [model["id"] for model in models["models"]] == [MODEL_ID]


def test_the_embedded_model_answers_for_another_model(embedded: str) -> None:
    """`python app.py` with nothing configured: the named model is substituted, in the stream and in the JSON answer."""
    body = {"input": "Hi", "model": "openai/gpt-4.1", "max_tokens": 2}
    events = checked(httpx.post(embedded + STREAM, json=body, timeout=60).content)
    answered = httpx.post(embedded + EXECUTE, json=body, timeout=60).json()
    assert only(events, "run_started") == [{"model": MODEL_ID}]
    assert [warning["code"] for warning in only(events, "warning")] == ["model_substituted"]
    assert (answered["status"], answered["model"]) == ("succeeded", MODEL_ID)


def test_loading_the_model_never_holds_up_the_health_check() -> None:
    """From the moment it listens, and all through the loading, /health answers at once and /ready says why not."""
    with app_process() as app, httpx.Client(base_url=app.url, timeout=30) as client:
        began, slowest = time.monotonic(), 0.0
        while (ready := client.get("/ready")).status_code == 503:
            assert ready.json()["error"]["code"] == "local_model_unavailable"
            started = time.monotonic()
            assert client.get("/health").status_code == 200
            slowest = max(slowest, time.monotonic() - started)
        took = time.monotonic() - began
    assert slowest < took / 2  # loaded in the service's own process, it would hold up one for nearly all of the time


def test_the_model_does_not_outlive_a_service_that_is_killed() -> None:
    """`kill -9` leaves no process behind: the model's ends when its standard input closes."""
    with app_process() as app, httpx.Client(base_url=app.url, timeout=30) as client:
        while client.get("/ready").status_code == 503:
            pass
        [child] = Path(f"/proc/{app.pid}/task/{app.pid}/children").read_text().split()
        model = os.pidfd_open(int(child))
        app.kill()
        ended, _, _ = select.select([model], [], [], 10)
        os.close(model)
    assert ended
