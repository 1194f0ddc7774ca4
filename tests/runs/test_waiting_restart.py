"""Tests that suspended runs survive the end of their process: by `kill -9`, by SIGTERM, or during an approved call."""

import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from process import Nursery
from restarts import CALLS, Place
from service import checked, only, text
from wire import Thinking, ToolCall, answer

RUNS = "/api/agent/runs"
THOUGHT = Thinking("Delete them.")

# Each call writes a mark. The first call to `stuck` never returns.


@pytest.fixture
def fake() -> Iterator[FakeDedalus]:
    with FakeDedalus.in_thread() as upstream:
        yield upstream


@pytest.fixture
def place(tmp_path: Path, fake: FakeDedalus, nursery: Nursery) -> Place:
    return Place(tmp_path, fake, nursery)


def begin(client: httpx.Client) -> tuple[str, bytes]:
    """Start a run and read it until it is suspended. Returns its id and the bytes read."""
    seen = b""
    with client.stream("POST", "/api/agent/stream", json={"input": "?"}) as response:
        for piece in response.iter_raw():
            seen += piece
            if b"event: waiting" in seen and seen.endswith(b"\n\n"):
                break
        return response.headers["x-run-id"], seen


def decide(client: httpx.Client, run_id: str, **decision: Any) -> httpx.Response:
    return client.post(f"{RUNS}/{run_id}/approvals/call_1", json={"approved": True} | decision)


def rest(client: httpx.Client, run_id: str) -> bytes:
    return client.get(f"{RUNS}/{run_id}/events").content


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_a_waiting_run_is_approved_after_a_restart(how: signal.Signals, place: Place, fake: FakeDedalus) -> None:
    """Earlier events are byte-identical, the run completes with its reasoning kept, and the tool has run once."""
    fake.turn(THOUGHT, *CALLS)
    fake.turn(*answer("Done."))
    with place.served() as (process, client):
        run_id, seen = begin(client)
        process.send_signal(how)
        process.wait(10)
    with place.served() as (process, client):
        process.says("runs restored from before the restart: 1 suspended, 0 queued")
        run = client.get(f"{RUNS}/{run_id}").json()
        listed = client.get(RUNS, params={"status": "waiting"}).json()["runs"]
        assert decide(client, run_id).status_code == 202
        body = rest(client, run_id)
        again, otherwise = decide(client, run_id), decide(client, run_id, approved=False)
    events = checked(body)
    assert (run["status"], [call["tool_call_id"] for call in run["pending"]]) == ("waiting", ["call_1"])
    assert [listed_run["run_id"] for listed_run in listed] == [run_id]
    assert body.removeprefix(b": ping\n\n").startswith(seen.removeprefix(b": ping\n\n"))
    assert only(events, "complete")[0]["status"] == "succeeded"
    began, ended = (datetime.fromisoformat(events[place]["timestamp"]) for place in (0, -1))
    took_ms = (ended - began) / timedelta(milliseconds=1)
    assert only(events, "complete")[0]["duration_ms"] == pytest.approx(took_ms, abs=100)
    assert text(events, "final_output") == "Done."
    assert again.status_code == 202
    assert otherwise.json()["error"]["code"] == "tool_call_answered"
    assert place.marks == ["drafts"]
    sent = fake.chats[1].body["messages"]
    assert sent[1]["tool_calls"][0]["thought_signature"] == "sig"
    assert sent[1]["reasoning_content"] == "Delete them."
    assert sent[2] == {"role": "tool", "tool_call_id": "call_1", "content": "deleted"}


def test_a_run_waits_through_several_restarts_and_some_of_its_answers(place: Place, fake: FakeDedalus) -> None:
    """An answer from before the restart still counts, and the run resumes with the last one."""
    second = ToolCall("call_2", "delete", '{"folder":"spam"}', index=1)
    fake.turn(CALLS[0], second, *CALLS[1:])
    fake.turn(*answer("Done."))
    with place.served() as (process, client):
        run_id, _ = begin(client)
        process.kill()
    with place.served() as (process, client):
        assert decide(client, run_id, approved=False).json()["status"] == "waiting"
        process.kill()
    with place.served() as (_, client):
        run = client.get(f"{RUNS}/{run_id}").json()
        assert [call["tool_call_id"] for call in run["pending"]] == ["call_2"]
        client.post(f"{RUNS}/{run_id}/approvals/call_2", json={"approved": True})
        events = checked(rest(client, run_id))
    assert [response["approved"] for response in only(events, "approval_response")] == [False, True]
    assert place.marks == ["spam"]


def test_a_time_that_ran_out_meanwhile_is_a_refusal(place: Place, fake: FakeDedalus) -> None:
    """A run's `expires_at` also applies while no process is running."""
    fake.turn(*CALLS)
    fake.turn(*answer("Then not."))
    place._environment["APPROVAL_TIMEOUT_S"] = "0.5"
    with place.served() as (process, client):
        run_id, _ = begin(client)
        process.kill()
    with place.served() as (_, client):
        events = checked(rest(client, run_id))
    assert only(events, "approval_response")[0]["approved"] is False
    assert place.marks == []


@pytest.mark.parametrize(
    ("name", "times", "said"),
    [("stuck", 1, "The server stopped while this call was being made"), ("stuck_but_idempotent", 2, "deleted")],
)
def test_an_approved_call_that_a_crash_cuts_off(
    name: str, times: int, said: str, place: Place, fake: FakeDedalus
) -> None:
    """The run resumes at the next start. Only an idempotent tool is called again; otherwise the model gets an error."""
    fake.turn(ToolCall("call_1", name, '{"folder":"drafts"}'), *CALLS[1:])
    fake.turn(*answer("Done."))
    with place.served() as (process, client):
        run_id, _ = begin(client)
        decide(client, run_id)
        while not place.marks:
            client.get("/health")
        process.kill()
    with place.served() as (_, client):
        events = checked(rest(client, run_id))
    assert len(place.marks) == times
    assert only(events, "tool_result")[0]["content"].startswith(said)
    assert only(events, "complete")[0]["status"] == "succeeded"


def test_the_next_run_of_a_session_after_a_crash_in_a_tool(place: Place, fake: FakeDedalus) -> None:
    """The state for later requests to a provider is on the disk before a tool runs, so `kill -9` can't lose it."""
    fake.turn(THOUGHT, ToolCall("call_1", "hang", '{"folder": "drafts"}'), *CALLS[1:])
    fake.turn(*answer("Sorry."))
    asked = {"input": "?", "session_id": "chat"}
    with place.served() as (process, client), client.stream("POST", "/api/agent/stream", json=asked):
        while not place.marks:
            httpx.get(f"{process.url}/health")
        process.kill()
    with place.served() as (_, client):
        checked(client.post("/api/agent/stream", json=asked).content)
    called = fake.chats[1].body["messages"][1]
    assert called["reasoning_content"] == "Delete them."
    assert called["tool_calls"][0]["function"]["arguments"] == '{"folder": "drafts"}'
