"""Tests background runs, run lists, events as JSON lines for polling, deletion and idempotency keys."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from grammar import check_grammar
from run_readers import attached, events_url, reading
from service import EXECUTE, NOWHERE, SIMULATE, STREAM, Service, checked, only, service, text
from session_calls import RUNS, get, refusal
from wire import Done, Finish, Gate, Stall, Status, Text, WaitFor, answer

pytestmark = pytest.mark.anyio


async def lines(agent: Service, run_id: str, after: int = 0) -> list[dict[str, Any]]:
    response = await agent.client.get(events_url(run_id), params={"wait": "false", "after": after})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


# In the background


async def test_a_background_run_needs_no_reader() -> None:
    """The POST returns 202 at once with the run's id and URL, and the run outlasts the grace period without a
    reader.
    """
    gate = Gate()
    async with FakeDedalus() as fake, service(fake.url, disconnect_grace_s=0) as agent:
        fake.turn(Text("one "), WaitFor(gate), Text("two"), Finish("stop"), Done())
        started = await agent.post(RUNS, {"input": "?", "metadata": {"user": "u_1"}})
        run_id = started.json()["run_id"]
        assert (started.status_code, started.headers["x-run-id"]) == (202, run_id)
        assert started.headers["location"] == f"{RUNS}/{run_id}"
        assert started.json()["status"] in {"queued", "running"}
        gate.open()
        assert text(await agent.events(run_id)) == "one two"
        run = await get(agent, f"{RUNS}/{run_id}")
    assert (run["status"], run["metadata"], run["on_disconnect"]) == ("succeeded", {"user": "u_1"}, "continue")


async def test_a_background_run_may_ask_to_be_cancelled_without_a_reader() -> None:
    """An explicit `on_disconnect: cancel` also applies to background runs."""
    async with FakeDedalus() as fake, service(fake.url, disconnect_grace_s=0) as agent:
        fake.turn(Text("one"), Stall())
        run_id = (await agent.post(RUNS, {"input": "?", "on_disconnect": "cancel"})).json()["run_id"]
        async with attached(agent, run_id) as reader:
            await reader.rest()
        assert (await get(agent, f"{RUNS}/{run_id}"))["status"] == "cancelled"


async def test_a_poll_gets_json_lines_of_what_there_is() -> None:
    """Polling returns each event once, from the cursor on.

    Without new events the body is empty, and after the run's end the status is 204.
    """
    gate = Gate()
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Text("one "), WaitFor(gate), Text("two"), Finish("stop"), Done())
        run_id = (await agent.post(RUNS, {"input": "?"})).json()["run_id"]
        async with attached(agent, run_id) as reader:
            await reader.until(b'"one "')
            seen = await lines(agent, run_id)
            assert await lines(agent, run_id, seen[-1]["seq"]) == []
            gate.open()
            streamed = checked(await reader.rest())
        seen += await lines(agent, run_id, seen[-1]["seq"])
        over = await agent.client.get(events_url(run_id), params={"wait": "false", "after": seen[-1]["seq"]})
        ahead = await agent.client.get(events_url(run_id), params={"wait": "false", "after": 1000})
    assert seen == streamed
    check_grammar(seen)
    assert (over.status_code, ahead.status_code) == (204, 409)


# Lists


async def test_runs_are_listed_the_latest_first_in_pages() -> None:
    """Each run is listed once, with its current status. The list can be filtered by session and by status."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.always(*answer("Yes."))
        ids = []
        for n in range(5):
            run = (await agent.post(RUNS, {"input": "?", "session_id": f"s{n % 2}"})).json()
            await agent.events(run["run_id"])  # to its end: a session takes one run at a time
            ids.append(run["run_id"])
        fake.turn(Text("one"), Stall())
        async with reading(agent) as reader:
            await reader.until(b'"one"')
            found, query = [], {"limit": 4}
            while True:
                page = await get(agent, RUNS, **query)
                found += page["runs"]
                if "next_cursor" not in page:
                    break
                query["cursor"] = page["next_cursor"]
            running = await get(agent, RUNS, status="running")
            of_session = await get(agent, RUNS, session_id="s1", status="succeeded")
            same = await get(agent, "/api/agent/sessions/s1/runs")
            unknown = await agent.client.get(RUNS, params={"status": "odd"})
    assert [run["run_id"] for run in found] == [reader.run_id, *reversed(ids)]
    assert [run["run_id"] for run in running["runs"]] == [reader.run_id]
    assert [run["run_id"] for run in of_session["runs"]] == [ids[3], ids[1]]
    assert same == of_session
    assert refusal(unknown) == (422, "invalid_request")


# Deleting


async def test_a_deleted_run_is_as_if_it_had_never_been() -> None:
    """Deleting a run under way is a 409. Deleting a finished one removes its record, its events and its key."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Text("one"), Stall())
        fake.turn(*answer("two"))
        key = {"idempotency-key": "k"}
        run_id = (await agent.post(RUNS, {"input": "?"}, **key)).json()["run_id"]
        assert refusal(await agent.client.delete(f"{RUNS}/{run_id}")) == (409, "run_active")
        await agent.client.post(f"{RUNS}/{run_id}/cancel")
        await agent.events(run_id)
        assert (await agent.client.delete(f"{RUNS}/{run_id}")).status_code == 204
        for path in (f"{RUNS}/{run_id}", events_url(run_id)):
            assert refusal(await agent.client.get(path)) == (404, "run_not_found")
        assert (await get(agent, RUNS))["runs"] == []
        assert (await agent.post(RUNS, {"input": "?"}, **key)).json()["run_id"] != run_id
        assert refusal(await agent.client.delete(f"{RUNS}/run_unknown")) == (404, "run_not_found")


# Idempotency keys


async def test_fifty_posts_with_one_key_are_one_run() -> None:
    """Promise 5: simultaneous requests with one key on all three routes make one upstream call, and each reads the
    run from its start.
    """
    gate = Gate()
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Text("one "), WaitFor(gate), *answer("two"))
        body, key = {"input": "?", "session_id": "chat"}, {"idempotency-key": "the-same"}
        routes = [STREAM] * 40 + [RUNS] * 5 + [EXECUTE] * 5
        posts = [asyncio.create_task(agent.post(route, body, **key)) for route in routes]
        await fake.wait_for_requests(1)
        gate.open()
        responses = await asyncio.gather(*posts)
        assert len(fake.chats) == 1
        late = await agent.post(STREAM, body, **key)
    streams = [response.content for response in responses[:40]]
    assert {response.status_code for response in responses} == {200, 202}
    assert {text(checked(stream)) for stream in streams} == {"one two"}
    assert checked(late.content) == checked(streams[0])
    ids = {response.headers["x-run-id"] for response in responses[:45]} | {r.json()["run_id"] for r in responses[45:]}
    assert len(ids) == 1


async def test_a_key_belongs_to_its_body() -> None:
    """Promise 5: the same key with another body is a 422, and another key starts another run."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.always(*answer("Yes."))
        first = await agent.post(STREAM, {"input": "?"}, **{"idempotency-key": "a"})
        other_body = await agent.post(STREAM, {"input": "!"}, **{"idempotency-key": "a"})
        other_key = await agent.post(STREAM, {"input": "?"}, **{"idempotency-key": "b"})
        no_key = await agent.client.post(STREAM, json={"input": "?"}, headers={"idempotency-key": "a b"})
    assert refusal(other_body) == (422, "idempotency_key_reused")
    assert other_key.headers["x-run-id"] != first.headers["x-run-id"]
    assert refusal(no_key) == (422, "invalid_request")


async def test_a_key_outlives_the_server(tmp_path: Path) -> None:
    """Promise 5: repeating a request after a restart returns the same run."""
    async with FakeDedalus() as fake:
        fake.always(*answer("Yes."))
        bodies = []
        for _ in range(2):
            async with service(fake.url, data_dir=tmp_path) as agent:
                bodies.append((await agent.post(STREAM, {"input": "?"}, **{"idempotency-key": "a"})).content)
        assert len(fake.chats) == 1
    assert checked(bodies[0]) == checked(bodies[1])


async def test_a_refused_request_leaves_its_key_free() -> None:
    """A request that was refused can be sent again with the same key."""
    async with FakeDedalus() as fake, service(fake.url, max_concurrent_runs=1) as agent:
        fake.turn(Text("one"), Stall())
        fake.turn(*answer("two"))
        async with reading(agent) as reader:
            await reader.until(b'"one"')
            refused = await agent.post(STREAM, {"input": "?"}, **{"idempotency-key": "a"})
            await agent.client.post(f"{RUNS}/{reader.run_id}/cancel")
            await reader.rest()
        again = await agent.post(STREAM, {"input": "?"}, **{"idempotency-key": "a"})
    assert refusal(refused) == (503, "server_full")
    assert text(checked(again.content)) == "two"


async def test_a_client_that_leaves_does_not_end_a_run_that_another_waits_for() -> None:
    """When one of two /execute callers with the same key disconnects, the run continues for the other."""
    gate = Gate()
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Text("one "), WaitFor(gate), *answer("two"))
        key = {"idempotency-key": "a"}
        leaving, staying = [asyncio.create_task(agent.post(EXECUTE, {"input": "?"}, **key)) for _ in range(2)]
        await fake.wait_for_requests(1)
        [task] = agent.app.state.live.tasks
        async with asyncio.timeout(5):
            while task.readers.count < 2:
                await agent.client.get("/health")
            leaving.cancel()
            await asyncio.wait({leaving})
            while task.readers.count > 1:
                await agent.client.get("/health")
        gate.open()
        assert (await staying).json()["output"] == "one two"


async def test_a_client_that_leaves_execute_does_not_end_a_run_of_the_background() -> None:
    """The run continues because POST /runs with the same key promised that it needs no reader."""
    gate = Gate()
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Text("one "), WaitFor(gate), *answer("two"))
        key = {"idempotency-key": "a"}
        leaving = asyncio.create_task(agent.post(EXECUTE, {"input": "?"}, **key))
        await fake.wait_for_requests(1)
        run_id = (await agent.post(RUNS, {"input": "?"}, **key)).json()["run_id"]
        [task] = agent.app.state.live.tasks
        leaving.cancel()
        await asyncio.wait({leaving})
        async with asyncio.timeout(5):
            while task.readers.count:
                await agent.client.get("/health")
        gate.open()
        assert text(await agent.events(run_id)) == "one two"


@pytest.mark.parametrize("more", [{"session_id": "chat", "multitask": "enqueue"}, {"metadata": {"a": "b"}}])
async def test_a_client_that_leaves_execute_while_its_run_begins_leaves_nothing_half_begun(
    more: dict[str, Any],
) -> None:
    """Whenever the caller disconnects, either there is no run, or one that has begun and is cancelled, on disk and
    in the list.
    """
    async with FakeDedalus() as fake, service(fake.url, event_log_fsync="commit") as agent:
        fake.always(Text("one"), Stall())
        for number in range(30):
            asked = asyncio.create_task(agent.post(EXECUTE, {"input": "?"} | more))
            for _ in range(number):
                await asyncio.sleep(0)
            asked.cancel()
            await asyncio.wait({asked})
        async with asyncio.timeout(20):
            while agent.app.state.starts.under_way:
                await agent.client.get("/health")
            while agent.app.state.live.tasks:
                await agent.client.get("/health")
        for run in (await get(agent, RUNS, limit=200))["runs"]:
            assert run["status"] == "cancelled"
            assert check_ended(await agent.events(run["run_id"]))


def check_ended(events: list[dict[str, Any]]) -> bool:
    check_grammar(events)
    return True


async def test_a_failed_run_is_the_key_s_answer_too() -> None:
    """A key returns its run even if that failed. Trying again needs a new key."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Status(400, {"error": {"message": "no"}}))
        key = {"idempotency-key": "a"}
        answers = [await agent.post(EXECUTE, {"input": "?"}, **key) for _ in range(2)]
    assert [refusal(response) for response in answers] == [(422, "upstream_rejected")] * 2
    assert answers[0].json()["error"]["run_id"] == answers[1].json()["error"]["run_id"]


async def test_scripted_runs_are_kept_like_any_other(tmp_path: Path) -> None:
    """The events of a scripted run are byte-identical after a restart."""
    async with service(NOWHERE, data_dir=tmp_path) as agent:
        first = await agent.post(SIMULATE, {"delay_ms": 0})
        run_id = first.headers["x-run-id"]
        before = await get(agent, f"{RUNS}/{run_id}")
    async with service(NOWHERE, data_dir=tmp_path) as agent:
        assert (await agent.client.get(events_url(run_id))).content == first.content
        assert await get(agent, f"{RUNS}/{run_id}") == before
    assert only(checked(first.content), "complete")[0]["status"] == before["status"]
