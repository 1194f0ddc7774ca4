"""Tests runs that wait in the middle of a step: what its attempts have spent counts, however the run ends."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from log_files import everything_in
from process import Nursery
from restarts import Place
from run_readers import events_url
from service import EXECUTE, STREAM, Service, checked, names, only, service, text
from text_checks import CANARY
from waiting_runs import RUNS, get, waiting_run, whole
from wire import Done, Finish, Gate, Json, Text, ToolCall, Usage, WaitFor, answer

pytestmark = pytest.mark.anyio

CHECK = "text_checks:no_canary"
SPENT = Usage(60, 40, 100)
BLOCKED = [Text(f"A {CANARY}."), Finish("stop", SPENT), Done()]
SUM: Json = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
TOO_LITTLE = 120  # tokens: enough for the first attempt, and not for the second


@pytest.fixture
async def fake() -> AsyncIterator[FakeDedalus]:
    async with FakeDedalus() as fake:
        yield fake


@pytest.fixture
def upstream() -> Iterator[FakeDedalus]:
    with FakeDedalus.in_thread() as fake:
        yield fake


async def raise_budget(agent: Service, run_id: str, **decision: Any) -> None:
    assert (await agent.post(f"{RUNS}/{run_id}/budget", decision)).status_code == 202


@pytest.mark.parametrize("window", [0, 200])
async def test_blocked_output_is_paid_for(window: int, fake: FakeDedalus) -> None:
    """The blocked attempt spends the budget, so the run waits before the second, which `step_restarted` begins."""
    limits: Json = {"check_output": CHECK, "check_output_restart": True, "check_output_window_chars": window}
    async with service(fake.url, **limits) as agent:
        fake.turn(*BLOCKED)
        fake.turn(*answer("A bird.", Usage(60, 5, 65)))
        async with waiting_run(agent, STREAM, max_total_tokens=TOO_LITTLE) as run_id:
            [budget] = (await get(agent, run_id))["pending"]
            await raise_budget(agent, run_id, max_total_tokens=1000)
        events = await whole(agent, run_id)
    assert budget["spent_tokens"] == 100
    assert names(events) == [
        *("run_started", "step_started", "waiting", "budget_response", "step_restarted"),
        *("partial_output", "step_finished", "final_output", "complete"),
    ]
    [restart] = only(events, "step_restarted")
    assert (restart["reason"], restart["usage"]["total_tokens"]) == ("blocked", 100)
    assert only(events, "complete")[0]["usage"]["total_tokens"] == 165
    assert text(events, "final_output") == "A bird."


async def test_output_that_is_blocked_while_it_arrives_is_estimated(fake: FakeDedalus) -> None:
    """The model is not read to its end, so its server's count never comes. The budget counts what has arrived."""
    said = f"A {CANARY}." + " It sang." * 100
    limits: Json = {"check_output": CHECK, "check_output_restart": True, "check_output_window_chars": 20}
    async with service(fake.url, **limits) as agent:
        pieces = [Text(said[at : at + 90]) for at in range(0, len(said), 90)]
        fake.turn(*pieces, WaitFor(Gate()), Finish("stop", SPENT), Done())
        async with waiting_run(agent, STREAM, max_total_tokens=50) as run_id:
            [budget] = (await get(agent, run_id))["pending"]
            await raise_budget(agent, run_id, approved=False)
        events = await whole(agent, run_id)
    prompt = len(json.dumps(fake.chats[0].body["messages"])) // 3
    assert 90 // 3 <= budget["spent_tokens"] <= len(said) // 3 + prompt
    assert only(events, "error")[0]["code"] == "budget_exceeded"
    assert CANARY not in json.dumps(events)


def test_a_step_begins_again_once_also_over_a_wait(upstream: FakeDedalus, tmp_path: Path, nursery: Nursery) -> None:
    """After kill -9 and a larger budget, the second blocked answer ends the run. The canary is in no file."""
    place = Place(tmp_path, upstream, nursery, CHECK_OUTPUT=CHECK, CHECK_OUTPUT_RESTART="true", TOOLS_BY_DEFAULT="none")
    upstream.always(*BLOCKED)
    with place.served() as (process, client):
        run_id = client.post(EXECUTE, json={"input": "?", "max_total_tokens": TOO_LITTLE}).json()["run_id"]
        process.kill()
        process.wait(10)
    with place.served() as (process, client):
        client.post(f"{RUNS}/{run_id}/budget", json={"max_total_tokens": 1000})
        events = checked(client.get(events_url(run_id)).content)
    assert names(events)[-4:] == ["budget_response", "step_restarted", "error", "complete"]
    assert only(events, "error")[0]["code"] == "output_blocked"
    assert only(events, "complete")[0]["usage"]["total_tokens"] == 200
    assert len(upstream.chats) == 2
    assert CANARY not in json.dumps(events) + "".join(process.log)
    assert CANARY.encode() not in everything_in(tmp_path / "data")


def wait_in_a_step(client: httpx.Client, upstream: FakeDedalus, kind: str) -> str:
    """Start a run whose first step waits after an answer of 100 tokens, and return its id."""
    body: Json = {"input": "?"}
    if kind == "budget":
        upstream.turn(*answer("It is three.", SPENT))
        body |= {"tools": [], "output_schema": SUM, "max_total_tokens": TOO_LITTLE}
    else:
        upstream.turn(ToolCall("call_1", "delete", '{"folder": "drafts"}'), Finish("tool_calls", SPENT), Done())
    run = client.post(EXECUTE, json=body).json()
    assert [item["kind"] for item in run["pending"]] == [kind]
    return str(run["run_id"])


@pytest.mark.parametrize("kind", ["budget", "approval"])
def test_a_run_that_is_cancelled_after_a_restart_has_the_usage_of_its_step(
    kind: str, upstream: FakeDedalus, tmp_path: Path, nursery: Nursery
) -> None:
    """No event has reported the attempt before the wait. The next process knows it from the checkpoint."""
    place = Place(tmp_path, upstream, nursery)
    with place.served() as (process, client):
        run_id = wait_in_a_step(client, upstream, kind)
        process.kill()
        process.wait(10)
    with place.served() as (_, client):
        client.post(f"{RUNS}/{run_id}/cancel")
        events = checked(client.get(events_url(run_id)).content)
        run = client.get(f"{RUNS}/{run_id}").json()
    [complete] = only(events, "complete")
    assert (complete["status"], complete["usage"]["total_tokens"]) == ("cancelled", 100)
    assert run["usage"] == complete["usage"]


def test_a_refused_budget_ends_the_run_also_if_its_model_is_gone(
    upstream: FakeDedalus, tmp_path: Path, nursery: Nursery
) -> None:
    """The next process has no server for the model. A refusal needs none; a raised budget fails the run."""
    kept = Place(tmp_path, upstream, nursery)
    gone = Place(tmp_path, upstream, nursery, DEDALUS_BASE_URL="", MISTRAL_API_KEY="sk", DEFAULT_MODEL="")
    with kept.served() as (process, client):
        refused, raised = (wait_in_a_step(client, upstream, "budget") for _ in range(2))
        process.kill()
        process.wait(10)
    with gone.served() as (_, client):
        client.post(f"{RUNS}/{refused}/budget", json={"approved": False})
        client.post(f"{RUNS}/{raised}/budget", json={"max_total_tokens": 1000})
        ends = [checked(client.get(events_url(run_id)).content)[-2:] for run_id in (refused, raised)]
    assert [error["data"]["code"] for error, _ in ends] == ["budget_exceeded", "model_unavailable"]
    assert [complete["data"]["usage"]["total_tokens"] for _, complete in ends] == [100, 100]
