"""Tests the short form of the crash harness, that its oracle finds each planted fault, and the time between log and
row.
"""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from process import Nursery
from wire import answer

from chaos.asks import RUNS, SIMULATE, STREAM, SUCCEEDED
from chaos.driver import driving
from chaos.oracle import (
    Conversation,
    Reading,
    Record,
    Witness,
    judge_conversation,
    judge_files,
    judge_marks,
    judge_promise,
    judge_run,
    judge_upstream,
    shown_by,
)
from chaos.server import OPEN, Server, crashing_server

Json = dict[str, Any]
SHORT_KILLS = 4


# The harness itself


@pytest.mark.timeout(180)
@pytest.mark.anyio
async def test_no_promise_breaks_under_kill_9(nursery: Nursery, tmp_path: Path) -> None:
    """Promises 1, 2 and 5 hold for kills at seeded random points.

    No event is missing, doubled or changed, each run has one `complete`, and row and log agree.
    """
    kills = cut = 0
    async with driving(nursery, "short", tmp_path) as driver:
        while kills < SHORT_KILLS:
            verdict = await driver.round(SHORT_KILLS - kills)
            assert verdict.faults == []
            kills, cut = kills + len(verdict.kills), cut + verdict.cut
        assert await driver.judge_all() == []
    assert cut > 0


@pytest.mark.timeout(180)
@pytest.mark.anyio
async def test_a_planted_loss_is_found(nursery: Nursery, tmp_path: Path) -> None:
    """The oracle reports the loss of the last event that clients have received, cut from its file while the service
    is down.
    """
    async with driving(nursery, "loss", tmp_path) as driver:
        lost: list[str] = []
        driver.between = lambda witnesses: lost.extend(lose_last_frame(driver.server, witnesses))
        while not lost:
            verdict = await driver.round(1)
        driver.between = lambda witnesses: None
    for run_id in lost:
        reported = [fault for fault in verdict.faults if run_id in fault]
        # A request for approval and the wait after it are one commit, so a log with only the first is not sound.
        assert any("is another one in the replay" in fault or "breaks the contract" in fault for fault in reported), (
            verdict
        )


def lose_last_frame(server: Server, witnesses: Sequence[Witness]) -> list[str]:
    """Cut the files of unfinished runs before the last frame that a client has received."""
    lost = []
    for witness in witnesses:
        seen = max((reading.last_seq for reading in witness.readings), default=0)
        file = server.runs / "active" / f"{witness.run_id}.sse"
        frames = file.read_bytes() if file.exists() else b""
        if seen > 1 and not witness.completed and b"\nevent: complete\n" not in frames:
            file.write_bytes(frames[: frames.index(b"\n\nid: %d\n" % seen) + 2])
            lost.append(witness.run_id)
    return lost


# The oracle

RUN = "run_0000000000007000800000000000000a"
NO_USAGE = {"input_tokens": None, "output_tokens": None, "total_tokens": None}


def replay(*events: tuple[str, Json], first: int = 1) -> bytes:
    """Return the frames of these events."""
    return b"".join(
        b"id: %d\nevent: %b\ndata: %b\n\n"
        % (
            seq,
            name.encode(),
            json.dumps(
                {"event": name, "data": data, "run_id": RUN, "seq": seq, "timestamp": "2026-11-22T10:00:00.123Z"}
            ).encode(),
        )
        for seq, (name, data) in enumerate(events, start=first)
    )


STEP = {"step": 1, "model": "m"}
CALL = {"tool_call_id": "call_1", "name": "search"}
COMPLETE = {"status": "succeeded", "finish_reason": "stop", "usage": NO_USAGE, "steps": 1, "duration_ms": 5}
EVENTS: list[tuple[str, Json]] = [
    ("run_started", {"model": "m"}),
    ("step_started", STEP),
    ("partial_output", {"content": "Hel"}),
    ("tool_use", {**CALL, "arguments": {}, "source": "hosted"}),
    ("tool_result", {**CALL, "content": "3", "is_error": False, "truncated": False}),
    ("partial_output", {"content": "lo"}),
    ("step_finished", {**STEP, "finish_reason": "stop", "usage": NO_USAGE}),
    ("final_output", {"content": "Hello"}),
    ("complete", COMPLETE),
]
ROW = {
    "run_id": RUN,
    "status": "succeeded",
    "model": "m",
    "created_at": "2026-11-22T10:00:00.123Z",
    "finished_at": "2026-11-22T10:00:00.123Z",
    "last_seq": len(EVENTS),
    "on_disconnect": "cancel",
    "finish_reason": "stop",
    "usage": NO_USAGE,
    "steps": 1,
}


def record(events: Sequence[tuple[str, Json]] = EVENTS, **row: Any) -> Record:
    """Return what a sound service reports of the run, with these changes."""
    frames = replay(*events)
    lines = b"".join(frame.partition(b"data: ")[2] + b"\n" for frame in frames.split(b"\n\n")[:-1])
    whole = ROW | row
    return Record(b": ping\n\n" + frames, lines, whole, [whole])


def witness(*seqs: int, cut_at: int = 4, **about: Any) -> Witness:
    """A client that received all events, with a crash in between, or these events on one connection."""
    shown = [(seq, data) for seq, data in enumerate(shown_by(record().replay), start=1)]
    if seqs:
        readings = [Reading(0, [shown[seq - 1] for seq in seqs], "clean", completed=len(shown) in seqs)]
    else:
        readings = [Reading(0, shown[:cut_at]), Reading(cut_at, shown[cut_at:], "clean", completed=True)]
    given: Json = {"run_ids": [RUN], "readings": readings} | about
    return Witness("plain 1", frozenset({SUCCEEDED}), **given)


def faults_of(seen: Witness, kept: Record) -> list[str]:
    return [*judge_run(kept, [seen]), *judge_promise(seen, {RUN: kept})]


def test_the_oracle_has_nothing_against_a_sound_run() -> None:
    """A sound run passes, whether it is read at once, over a crash at any event, or only later."""
    assert faults_of(witness(*range(1, len(EVENTS) + 1)), record()) == []
    assert [fault for cut_at in range(len(EVENTS)) for fault in faults_of(witness(cut_at=cut_at), record())] == []


def without(place: int) -> list[tuple[str, Json]]:
    return EVENTS[:place] + EVENTS[place + 1 :]


def shown_otherwise() -> Witness:
    seen = witness()
    seen.readings[0].frames[1] = (2, "0123456789abcdef")
    return seen


FAILED_LATER = [*EVENTS[:3], ("error", {"code": "interrupted", "message": "m", "retryable": True, "request_id": "r"})]
PLANTS: dict[str, tuple[Callable[[], tuple[Witness, Record]], str]] = {
    "a gap": (lambda: (witness(1, 2, 4, 5, 6, 7, 8, 9), record()), "event 4 came after 2"),
    "a doubled event": (lambda: (witness(1, 2, 3, 3, 4, 5, 6, 7, 8, 9), record()), "event 3 came twice"),
    "an event again after a resume": (
        lambda: (witness(readings=[Reading(3, witness(3, 4, 5, 6, 7, 8, 9).readings[0].frames)]), record()),
        "event 3 came after 3",
    ),
    "a changed byte": (lambda: (shown_otherwise(), record()), "event 2 is another one in the replay"),
    "a lost event, and another in its place": (
        lambda: (
            witness(readings=[Reading(0, witness().readings[0].frames, completed=False)]),
            record([*FAILED_LATER, ("complete", COMPLETE | {"status": "failed"})], status="failed", last_seq=5),
        ),
        "event 4 is another one in the replay",
    ),
    "lost events at the end": (
        lambda: (witness(), record([*EVENTS[:2], ("complete", COMPLETE | {"status": "cancelled"})])),
        "event 4 is lost",
    ),
    "a lost event in the log": (lambda: (witness(), record(without(2))), "breaks the contract"),
    "two completes": (lambda: (witness(), record([*EVENTS, ("complete", COMPLETE)])), "complete can't come here"),
    "no complete": (lambda: (witness(), record(EVENTS[:-1])), "without complete"),
    "a clean end without complete": (lambda: (witness(1, 2, 3), record()), "ended cleanly"),
    "nothing, before the end": (
        lambda: (witness(readings=[Reading(3, end="nothing")]), record()),
        "204 after event 3 of 9",
    ),
    "a row that says running": (lambda: (witness(), record(status="running")), "the row's status is 'running'"),
    "a row that is behind": (lambda: (witness(), record(last_seq=8)), "the row's last_seq is 8"),
    "a row with an error": (
        lambda: (witness(), record(error={"code": "interrupted"})),
        "the row's error is {'code': 'interrupted'}",
    ),
    "a list with another row": (
        lambda: (witness(), replace(record(), listed=[ROW | {"status": "queued"}])),
        "the list has {",
    ),
    "a list without the run": (lambda: (witness(), replace(record(), listed=[])), "the list has it 0 times"),
    "a list with the run twice": (lambda: (witness(), replace(record(), listed=[ROW, ROW])), "the list has it 2 times"),
    "other JSON lines": (lambda: (witness(), replace(record(), lines=b"")), "the JSON lines"),
    "an end that was not expected": (
        lambda: (replace(witness(), outcomes=frozenset({("cancelled", None)})), record()),
        "it ended as",
    ),
    "lost metadata": (lambda: (witness(metadata={"n": "1"}), record()), "its metadata are None"),
    "two runs of one key": (lambda: (witness(run_ids=[RUN, "run_b"]), record()), "one key gave the runs"),
    "a run that is not there": (lambda: (witness(run_ids=["run_b"]), record()), "the run is not there"),
    "no end for the client": (lambda: (witness(readings=[]), record()), "it never came to complete"),
    "a refusal": (lambda: (witness(refusals=["409"]), record()), "refused: 409"),
    "another JSON answer": (
        lambda: (witness(answers=[{"status": "succeeded", "output": "Hallo"}]), record()),
        "the JSON answer's output is 'Hallo'",
    ),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_the_oracle_catches(plant: str) -> None:
    """Each planted fault is reported, in words that name it."""
    make, expected = PLANTS[plant]
    assert any(expected in fault for fault in faults_of(*make())), faults_of(*make())


def conversation(**changes: Any) -> Conversation:
    """Return a sound session, with changes to the messages at these positions."""
    call = {"tool_call_id": "call_1", "name": "search", "arguments": {}, "result": "3", "is_error": False}
    messages: list[Json] = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "Hel", "tool_calls": [call]},
        {"role": "tool", "content": "3", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "lo"},
    ]
    for place, message in enumerate(messages):
        message |= {"run_id": RUN, "message_id": f"{RUN}:{place}", "status": "succeeded"} | changes.get(f"m{place}", {})
        if place:
            message.setdefault("parent_id", f"{RUN}:{place - 1}")
    return Conversation("chat", RUN, [message for message in messages if not message.get("left_out")], {RUN: record()})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"m2": {"left_out": True}}, "calls have no result"),
        ({"m1": {"left_out": True}}, "is no result of a call before it"),
        ({"m3": {"content": "la"}}, "is kept as 'Hella'"),
        ({"m3": {"parent_id": "another"}}, "does not follow"),
        ({"m3": {"thinking": "hm"}}, "the thinking is kept as 'hm'"),
        ({"m1": {"tool_calls": [CALL]}}, "the result of call_1 is kept as (None, None)"),
        ({"m0": {"status": "failed"}}, "has another end than the row: failed"),
        ({"m3": {"error": {"code": "interrupted"}}}, "has another end than the row"),
        ({"m0": {"left_out": True}}, "does not begin with its one question"),
        ({"m3": {"run_id": "run_b", "role": "user"}}, "but not among its runs"),
    ],
)
def test_the_oracle_catches_in_a_session(changes: Json, expected: str) -> None:
    """Tool messages that no model would accept, and an answer that differs from the log, are reported."""
    assert list(judge_conversation(conversation())) == []
    assert any(expected in fault for fault in judge_conversation(conversation(**changes)))


@pytest.mark.parametrize(
    "wrong",
    [
        replace(conversation(), head="run_b"),
        replace(conversation(), head=None),
        Conversation("chat", RUN, [], {}),
    ],
)
def test_the_oracle_catches_a_wrong_head(wrong: Conversation) -> None:
    """A session's head must be one of its runs, and a session without runs has none."""
    assert list(judge_conversation(Conversation("chat", None, [], {}))) == []
    assert any("which is no run of it" in fault for fault in judge_conversation(wrong))


def test_the_oracle_catches_files_and_calls() -> None:
    """A run left in active/, a run missing from the list or the folders, and doubled requests or calls are reported."""
    assert list(judge_files([], ["a"], ["a"])) == list(judge_upstream({"q": 1})) == []
    for active, archived, listed in ((["a"], [], ["a"]), ([], ["a"], []), ([], [], ["a"]), ([], ["a"], ["a", "a"])):
        assert list(judge_files(active, archived, listed))
    assert list(judge_upstream({"q": 2}))
    assert list(judge_marks(["a", "b"])) == []
    assert list(judge_marks(["a", "b", "a"]))


# Between the log and the row


@asynccontextmanager
async def service(nursery: Nursery, directory: Path) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    """The service, started, with a client whose connections don't outlive a crash."""
    limits = httpx.Limits(max_keepalive_connections=0)
    with FakeDedalus.in_thread() as fake:
        fake.always(*answer("Yes, it is."))
        with crashing_server(nursery, directory, fake.url) as server:
            async with httpx.AsyncClient(base_url=server.url, timeout=30, limits=limits) as client:
                await server.start(OPEN)
                yield server, client


async def finished(client: httpx.AsyncClient, path: str = STREAM, **body: Any) -> Json:
    """Run a request to its end. Returns what the run's row says that is also in its log."""
    asked = {"scenario": "default", "delay_ms": 0} if path == SIMULATE else {"input": "?", **body}
    response = await client.post(path, json=asked)
    return await told_of(client, response.headers["x-run-id"])


IN_THE_LOG = ("run_id", "session_id", "status", "model", "last_seq", "finish_reason", "usage", "steps", "error")


async def told_of(client: httpx.AsyncClient, run_id: str) -> Json:
    """Return what a run's row says that is also in its log."""
    row: Json = (await client.get(f"{RUNS}/{run_id}")).json()
    return {name: row.get(name) for name in IN_THE_LOG}


async def listed(client: httpx.AsyncClient) -> list[Json]:
    runs: list[Json] = (await client.get(RUNS)).json()["runs"]
    return [{name: row.get(name) for name in IN_THE_LOG} for row in runs]


def edit(server: Server, sql: str, *values: object) -> None:
    """Change the database from outside the service."""
    with closing(sqlite3.connect(server.database, timeout=10)) as database, database:
        database.execute(sql, values)


def back_to_active(server: Server, run_id: str) -> None:
    """Move the run's file back, as if the service had been killed before archiving it."""
    server.file(run_id).rename(server.runs / "active" / f"{run_id}.sse")


@pytest.mark.anyio
async def test_a_run_whose_row_was_never_written_is_recorded_at_start(nursery: Nursery, tmp_path: Path) -> None:
    """A lock on the database delays the row, so that the kill comes after `complete` was sent and before the row is
    written.
    """
    async with service(nursery, tmp_path) as (server, client):
        with closing(sqlite3.connect(server.database, isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            response = await client.post(SIMULATE, json={"delay_ms": 0})
            run_id = response.headers["x-run-id"]
            assert b"\nevent: complete\n" in response.content
            await server.kill()
            assert lock.execute("SELECT count(*) FROM runs").fetchone() == (0,)
        assert server.active() == [run_id]
        await server.start()
        [row] = await listed(client)
        assert (row["run_id"], row["status"]) == (run_id, "succeeded")
        assert row == await told_of(client, run_id)
        assert (server.active(), server.archived()) == ([], [run_id])


@pytest.mark.anyio
async def test_kills_right_after_complete(nursery: Nursery, tmp_path: Path) -> None:
    """After kills within the time in which rows are written, the list has each run as its client received it."""
    async with service(nursery, tmp_path) as (server, client):
        ended = []
        for number in range(6):
            response = await client.post(SIMULATE, json={"delay_ms": 0, "scenario": ("default", "error")[number % 2]})
            assert b"\nevent: complete\n" in response.content
            await server.kill()
            await server.start()
            ended.append((response.headers["x-run-id"], ("succeeded", "failed")[number % 2]))
        assert [(row["run_id"], row["status"]) for row in await listed(client)] == ended[::-1]
        assert (server.active(), sorted(server.archived())) == ([], sorted(run_id for run_id, _ in ended))


@pytest.mark.anyio
async def test_a_first_run_that_had_not_begun_leaves_its_session_usable(nursery: Nursery, tmp_path: Path) -> None:
    """The kill comes after a session's first question is recorded and before the run's first event, which no client
    has received.
    """
    async with service(nursery, tmp_path) as (server, client):
        run_id = (await finished(client, session_id="chat"))["run_id"]
        await server.kill()
        edit(server, "UPDATE runs SET status = 'queued', last_seq = 0, finished_at = NULL WHERE run_id = ?", run_id)
        server.file(run_id).unlink()
        (server.runs / "active" / f"{run_id}.sse").touch()
        await server.start()
        session = (await client.get("/api/agent/sessions/chat")).json()
        assert "head_run_id" not in session
        assert await listed(client) == (await client.get("/api/agent/sessions/chat/messages")).json()["messages"] == []
        later = await finished(client, session_id="chat")
        assert (await client.get("/api/agent/sessions/chat")).json()["head_run_id"] == later["run_id"]


WRONG = (
    "UPDATE runs SET status = 'running', finished_at = NULL WHERE run_id = ?",
    "UPDATE runs SET status = 'queued', last_seq = 0, usage = NULL, error = NULL WHERE run_id = ?",
    "DELETE FROM runs WHERE run_id = ?",
)


@pytest.mark.anyio
async def test_rows_that_disagree_with_the_log_are_repaired_at_start(nursery: Nursery, tmp_path: Path) -> None:
    """Incomplete and missing rows are correct in the first list after the start, with and without a session."""
    async with service(nursery, tmp_path) as (server, client):
        rows = [
            await finished(client, path, **body) for path, body in ((STREAM, {"session_id": "chat"}), (SIMULATE, {}))
        ]
        said = (await client.get("/api/agent/sessions/chat/messages")).json()
        for wrong in WRONG:
            await server.kill()
            for row in rows:
                edit(server, wrong, row["run_id"])
                if wrong.startswith("DELETE"):
                    back_to_active(server, row["run_id"])
            await server.start()
            assert await listed(client) == rows[::-1], wrong
            assert server.active() == []
        assert [message["role"] for message in said["messages"]] == ["user", "assistant"]


@pytest.mark.anyio
async def test_rows_that_disagree_with_the_log_are_repaired_on_read(nursery: Nursery, tmp_path: Path) -> None:
    """While the service runs, GET /runs/{id} returns what the log says, and the list does so from then on."""
    async with service(nursery, tmp_path) as (server, client):
        rows = [await finished(client), await finished(client, SIMULATE)]
        for wrong in (*WRONG, "UPDATE runs SET last_seq = 3 WHERE run_id = ?"):
            for row in rows:
                edit(server, wrong, row["run_id"])
                assert await told_of(client, row["run_id"]) == row, wrong
            assert await listed(client) == rows[::-1], wrong
