"""Data that an earlier version stored: the service starts on it, replays it byte for byte and finishes its runs."""

import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from local_tools import LocalTool, gives, named
from service import DATABASE, STREAM, Service, checked, names, only, service, text
from wire import answer

from run_models import now

pytestmark = pytest.mark.anyio

STORED = Path(__file__).parents[1] / "fixtures" / "data-d2886eb"
SESSION = "sess_upgrade"
RUNS = "/api/agent/runs"

# The runs of the session, in order: two tools and an idempotency key, an answer from /execute, one that was interrupted
# by `kill -9` and ended by the next start, and one that waits for an approval and for the caller's page.
TOOLS = "run_01a21f1333f775708fd218d4c2b27f7c"
FOLLOW_UP = "run_01a21f13343172b6af744a6435bace38"
INTERRUPTED = "run_01a21f133449772b9d1d82bbf0bf53a8"
WAITING = "run_01a21f13468c716bb593e139ac6232d7"
SIMULATED = "run_01a21f13345870bb956cd38623face1a"  # without a session
UNDER_WAY = "run_01a21f1346bd70929f05e798998c55e9"  # of another session, when the process was killed
ASKED = {
    "input": "What is 1 + 2, and x + 2? é☃😀",
    "session_id": SESSION,
    "metadata": {"team": "red"},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of the stored data."""
    return shutil.copytree(STORED, tmp_path / "data")


@asynccontextmanager
async def upgraded(data: Path, upstream: FakeDedalus, *tools: LocalTool) -> AsyncIterator[Service]:
    """The present service on the stored data, which is kept however old it is."""
    async with service(upstream.url, named(*tools), data_dir=str(data), retention_days=36_500) as running:
        yield running


def frames(data: Path, run_id: str) -> bytes:
    """The frames of a run, as they are stored."""
    (file,) = data.glob(f"runs/*/{run_id}.sse")
    return file.read_bytes()


async def replayed(running: Service, run_id: str, **cursor: Any) -> bytes:
    response = await running.client.get(f"{RUNS}/{run_id}/events", params=cursor)
    assert response.status_code == 200, response.text
    return response.content.removeprefix(b": ping\n\n")


@pytest.mark.parametrize("run_id", [TOOLS, FOLLOW_UP, INTERRUPTED, SIMULATED])
async def test_ended_runs_replay_byte_for_byte(run_id: str, data: Path) -> None:
    """Each run that had ended comes as it was stored, whole and from a cursor; its row is as it was."""
    async with FakeDedalus() as upstream, upgraded(data, upstream) as running:
        whole = await replayed(running, run_id)
        part = await replayed(running, run_id, after=2)
        run = (await running.client.get(f"{RUNS}/{run_id}")).json()
    stored = frames(STORED, run_id)
    assert whole == stored
    assert part == stored[stored.index(b"id: 3\n") :]
    ended = only(checked(whole), "complete")[0]
    assert (run["status"], run["last_seq"]) == (ended["status"], len(checked(whole)))


async def test_the_stored_session_is_read_and_continued(data: Path) -> None:
    """Its messages are there with the results of their calls, and the model gets them before the next question."""
    async with FakeDedalus() as upstream, upgraded(data, upstream) as running:
        session = (await running.client.get(f"/api/agent/sessions/{SESSION}")).json()
        messages = (await running.client.get(f"/api/agent/sessions/{SESSION}/messages")).json()["messages"]
        upstream.turn(*answer("Yes."))
        asked = {"input": "More?", "session_id": SESSION, "parent_run_id": FOLLOW_UP, "multitask": "interrupt"}
        events = await running.stream(asked)
    assert (session["title"], session["head_run_id"]) == (ASKED["input"], WAITING)
    assert {message["run_id"] for message in messages} == {TOOLS, FOLLOW_UP, INTERRUPTED, WAITING}
    assert [message["content"] for message in messages if message["run_id"] == FOLLOW_UP] == [
        "What did I ask?",
        "You asked for two sums.",
    ]
    calls = messages[1]["tool_calls"]
    assert [(call["name"], call["arguments"]["b"]) for call in calls] == [("add", 2), ("add", 2)]
    results = {result["tool_call_id"]: result for result in only(checked(frames(STORED, TOOLS)), "tool_result")}
    for message, call in zip(messages[2:4], ("call_1", "call_2"), strict=True):
        assert (message["tool_call_id"], message["content"]) == (call, results[call]["content"])
        assert message["is_error"] == results[call]["is_error"]
    assert text(events, "final_output") == "Yes."
    sent = upstream.chats[0].body["messages"]
    roles = [message["role"] for message in sent]
    assert roles == ["user", "assistant", "tool", "tool", "assistant", "user", "assistant", "user"]
    assert sent[0]["content"] == ASKED["input"]
    assert sent[-1]["content"] == "More?"


async def test_a_stored_waiting_run_is_answered_and_finishes(data: Path) -> None:
    """Answers from before the upgrade count. With the other answers the run resumes, and its log only grows."""
    delete = gives("delete", "deleted")
    delete.approval = True
    async with FakeDedalus() as upstream, upgraded(data, upstream, delete) as running:
        upstream.turn(*answer("Done."))
        run = (await running.client.get(f"{RUNS}/{WAITING}")).json()
        approved = await running.post(f"{RUNS}/{WAITING}/approvals/call_6", {"approved": True})
        colour = {"tool_call_id": "call_7", "content": "blue"}
        picked = await running.post(f"{RUNS}/{WAITING}/tool-results", {"results": [colour]})
        assert (approved.status_code, picked.status_code) == (202, 202), picked.text
        body = await replayed(running, WAITING)
    assert run["status"] == "waiting"
    assert [call["tool_call_id"] for call in run["pending"]] == ["call_6", "call_7"]
    assert body.startswith(frames(STORED, WAITING))
    events = checked(body)
    assert only(events, "complete")[0]["status"] == "succeeded"
    assert text(events, "final_output") == "Done."
    assert delete.heard == [{"folder": "spam"}]
    sent = upstream.chats[0].body["messages"]
    assert sent[-4]["tool_calls"][0]["thought_signature"] == "sig"
    assert {message["tool_call_id"]: message["content"] for message in sent[-3:]} == {
        "call_5": "A person denied this call. I need them.",
        "call_6": "deleted",
        "call_7": "blue",
    }


async def test_a_stored_run_without_an_end_is_ended(data: Path) -> None:
    """The run that was under way keeps its frames and ends as interrupted; its session has what it said."""
    async with FakeDedalus() as upstream, upgraded(data, upstream) as running:
        body = await replayed(running, UNDER_WAY)
        messages = (await running.client.get("/api/agent/sessions/sess_other/messages")).json()["messages"]
    assert body.startswith(frames(STORED, UNDER_WAY))
    events = checked(body)
    assert names(events)[-2:] == ["error", "complete"]
    assert only(events, "error")[0]["code"] == "interrupted"
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[-1]["content"] == "The sum"


async def test_a_stored_idempotency_key_still_means_its_run(data: Path) -> None:
    """The same request is answered with the run of before, without a call of the model; another is refused."""
    with sqlite3.connect(data / DATABASE) as database:
        database.execute("UPDATE idempotency_keys SET created_at = ?", [now()])  # keys are valid for 24 hours
    database.close()
    async with FakeDedalus() as upstream, upgraded(data, upstream) as running:
        again = await running.post(STREAM, ASKED, **{"Idempotency-Key": "key-1"})
        other = await running.post(STREAM, ASKED | {"input": "?"}, **{"Idempotency-Key": "key-1"})
    assert again.content.removeprefix(b": ping\n\n") == frames(STORED, TOOLS)
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    assert upstream.chats == []


async def test_a_second_start_finds_the_upgraded_data_whole(data: Path) -> None:
    """The second start only reads the data that the first one has migrated and ended."""
    async with FakeDedalus() as upstream:
        async with upgraded(data, upstream) as running:
            first = [await replayed(running, run_id) for run_id in (TOOLS, UNDER_WAY)]
        async with upgraded(data, upstream) as running:
            second = [await replayed(running, run_id) for run_id in (TOOLS, UNDER_WAY)]
            waiting = (await running.client.get(RUNS, params={"status": "waiting"})).json()["runs"]
    assert second == first
    assert [run["run_id"] for run in waiting] == [WAITING]
