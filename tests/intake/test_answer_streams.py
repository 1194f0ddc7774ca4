"""Tests answers to suspended runs that return the event stream, so that a page needs no connection during the wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake_dedalus import FakeDedalus
from grammar import parse_frames
from live_tasks import task_of, when
from local_tools import named
from run_readers import Reader, reading
from service import NOWHERE, SIMULATE, Service, checked, only, service
from waiting_runs import ASK, DELETE, PAGE_TOOL, RUNS, calling, decide, deletes, get, refusal, send, waits, whole
from wire import Gate, WaitFor, answer

pytestmark = pytest.mark.anyio

STREAMED = {"Accept": "text/event-stream"}
SHORT_S = 0.3  # seconds of grace: long enough for a run that begins without a reader
LOCATED: dict[str, Any] = {"results": [{"tool_call_id": "call_1", "content": "Oslo"}]}


def approval(run_id: str, call_id: str = "call_1") -> str:
    return f"{RUNS}/{run_id}/approvals/{call_id}"


@asynccontextmanager
async def answering(agent: Service, path: str, body: Any, after: int) -> AsyncIterator[Reader]:
    """Send an answer and read the event stream that it returns."""
    headers = STREAMED | {"Last-Event-ID": str(after)}
    async with agent.client.stream("POST", path, json=body, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Reader(response)


async def left_waiting(agent: Service, **body: Any) -> str:
    """Start a run whose only reader disconnects when the run is suspended."""
    async with reading(agent, **body) as reader:
        await reader.until(b"event: waiting")
    await when(lambda: task_of(agent, reader.run_id).readers.count == 0)
    await waits(agent, reader.run_id)
    return reader.run_id


@pytest.mark.parametrize("kind", ["approval", "tool results"])
async def test_an_answer_s_response_is_the_rest_of_the_run(kind: str) -> None:
    """The response has the events from the cursor to `complete`, byte-identical to a replay."""
    call = DELETE if kind == "approval" else calling(("call_1", "locate", "{}"))
    asked = ASK if kind == "approval" else {"client_tools": [PAGE_TOOL]}
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), disconnect_grace_s=SHORT_S) as agent:
        fake.turn(*call)
        fake.turn(*answer("Done."))
        run_id = await left_waiting(agent, **asked)
        seen = (await get(agent, run_id))["last_seq"]
        path = approval(run_id) if kind == "approval" else f"{RUNS}/{run_id}/tool-results"
        body = {"approved": True} if kind == "approval" else LOCATED
        async with answering(agent, path, body, seen) as reader:
            assert reader.run_id == run_id
            rest = await reader.rest()
        replay = await agent.client.get(f"{RUNS}/{run_id}/events", params={"after": seen})
    assert rest == replay.content
    assert parse_frames(rest)[0]["seq"] == seen + 1
    assert only(parse_frames(rest), "complete")[0]["status"] == "succeeded"


async def test_a_run_left_at_waiting_has_not_lost_its_reader() -> None:
    """With a very short grace period, the run is cancelled neither during the wait nor after an answer without a
    stream.
    """
    gate = Gate()
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), disconnect_grace_s=SHORT_S) as agent:
        fake.turn(*DELETE)
        fake.turn(WaitFor(gate), *answer("Done."))
        run_id = await left_waiting(agent, **ASK)
        assert (await decide(agent, run_id)).status_code == 202
        await fake.wait_for_requests(2)
        assert task_of(agent, run_id).readers._grace is None
        gate.open()
        events = await whole(agent, run_id)
    assert only(events, "complete")[0]["status"] == "succeeded"


async def test_a_stream_that_an_answer_began_counts_as_a_reader() -> None:
    """Leaving the answer's stream while the run continues starts the grace period, as for any stream."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), disconnect_grace_s=SHORT_S) as agent:
        fake.turn(*DELETE)
        fake.turn(WaitFor(Gate()), *answer("Done."))
        run_id = await left_waiting(agent, **ASK)
        async with answering(agent, approval(run_id), {"approved": True}, 0) as reader:
            await reader.until(b"event: tool_result")
        await when(lambda: agent.app.state.live.get(run_id) is None)
        assert (await get(agent, run_id))["status"] == "cancelled"


async def test_a_run_that_still_waits_can_be_left_again() -> None:
    """After the first of two answers its stream stays open at `waiting`. The second answer's stream reaches the end."""
    two = calling(("call_1", "delete", '{"folder":"a"}'), ("call_2", "delete", '{"folder":"b"}'))
    async with FakeDedalus() as fake, service(fake.url, named(deletes()), disconnect_grace_s=SHORT_S) as agent:
        fake.turn(*two)
        fake.turn(*answer("Done."))
        run_id = await left_waiting(agent, **ASK)
        async with answering(agent, approval(run_id), {"approved": True}, 0) as reader:
            await reader.until(b"event: approval_response")
        await when(lambda: task_of(agent, run_id).readers.count == 0)
        assert [call["tool_call_id"] for call in (await waits(agent, run_id))["pending"]] == ["call_2"]
        async with answering(agent, approval(run_id, "call_2"), {"approved": False}, 0) as reader:
            events = checked(await reader.rest())
    assert [response["approved"] for response in only(events, "approval_response")] == [True, False]


async def test_the_same_answer_again_gives_the_stream_again() -> None:
    """A repeated answer returns the stream again, during the run and after its end, and 204 once nothing is left."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        fake.turn(*DELETE)
        fake.turn(*answer("Done."))
        run_id = await left_waiting(agent, **ASK)
        streams = []
        for _ in range(2):
            async with answering(agent, approval(run_id), {"approved": True}, 0) as reader:
                streams.append(await reader.rest())
        end = {"Last-Event-ID": str(parse_frames(streams[0])[-1]["seq"])}
        nothing = await agent.client.post(approval(run_id), json={"approved": True}, headers=STREAMED | end)
    assert streams[0] == streams[1]
    assert nothing.status_code == 204


async def test_a_refused_answer_is_refused_as_json() -> None:
    """A refusal is JSON even if a stream was requested. A cursor ahead of the log leaves the call unanswered."""
    async with FakeDedalus() as fake, service(fake.url, named(deletes())) as agent:
        fake.turn(*DELETE)
        fake.turn(*answer("Done."))
        run_id = await left_waiting(agent, **ASK)

        async def refused(path: str, **headers: str) -> tuple[int, str]:
            return refusal(await agent.client.post(path, json={"approved": True}, headers=STREAMED | headers))

        assert await refused(approval(run_id), **{"Last-Event-ID": "999"}) == (409, "cursor_ahead")
        assert await refused(approval(run_id), **{"Last-Event-ID": "x"}) == (400, "invalid_cursor")
        assert await refused(approval(run_id, "call_9")) == (404, "tool_call_not_found")
        assert await refused(approval("run_unknown")) == (404, "run_not_found")
        assert (await get(agent, run_id))["status"] == "waiting"
        assert (await send(agent, run_id, {"tool_call_id": "call_1", "content": "x"})).status_code == 404
        assert (await decide(agent, run_id)).status_code == 202
        await whole(agent, run_id)
        changed = await agent.client.post(approval(run_id), json={"approved": False}, headers=STREAMED)
        assert refusal(changed) == (409, "tool_call_answered")


async def test_a_scripted_run_is_answered_likewise() -> None:
    """Answers also work for `/stream/simulate` with the scenario `approval`, so that a page can be tried without a
    model.
    """
    async with service(NOWHERE) as agent:
        async with reading(agent, SIMULATE, scenario="approval", delay_ms=0) as reader:
            await reader.until(b"event: waiting")
        [call] = (await waits(agent, reader.run_id))["pending"]
        async with answering(agent, approval(reader.run_id, call["tool_call_id"]), {"approved": True}, 0) as again:
            events = checked(await again.rest())
    assert only(events, "complete")[0]["status"] == "succeeded"
