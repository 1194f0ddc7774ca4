"""Tests that a run is one task that writes a log, whatever its readers do (promises 1, 2, 3 and 7 of the design)."""

import asyncio
import json
import socket
from typing import Any

import httpx
import pytest
from fake_dedalus import FakeDedalus
from grammar import check_grammar, parse_frames
from run_readers import Reader, attached, events_url, reading
from service import EXECUTE, NOWHERE, SIMULATE, STREAM, Service, checked, names, only, service, text
from wire import Done, Finish, Gate, Stall, Text, WaitFor, answer

from event_data import PartialOutput
from models import Scenario, SimulateRequest
from run_models import ANONYMOUS
from services.agents.scenarios import Silence, script

pytest_plugins = "shared_service"
pytestmark = pytest.mark.anyio

SMALL = 64 * 1024  # bytes of a socket's buffer: most of a long frame then waits in the service
WORDS = ("one ", "two ", "three ", "four ", "five ")


async def ended(agent: Service, run_id: str) -> dict[str, object]:
    """Return the run's `complete` event, read to the end by a separate reader."""
    events = await agent.events(run_id)
    check_grammar(events)
    data: dict[str, object] = events[-1]["data"]
    return data


async def test_replay_is_byte_identical_from_every_cursor(fake: FakeDedalus, shared: Service) -> None:
    """Promise 2: after event n a reader gets the events from n+1 on, byte for byte as the first reader got them."""
    fake.turn(*[Text(word) for word in WORDS], Finish("stop"), Done(), split=7)
    response = await shared.post(STREAM, {"input": "?"})
    run_id = response.headers["x-run-id"]
    frames = [frame + b"\n\n" for frame in response.content.split(b"\n\n")[1:-1]]
    for after in range(len(frames)):
        replayed = await shared.client.get(events_url(run_id), headers={"last-event-id": str(after)})
        assert replayed.content.removeprefix(b": ping\n\n") == b"".join(frames[after:])


async def test_the_header_wins_over_the_query(agent: Service) -> None:
    """`Last-Event-ID`, which an EventSource sends by itself, wins over the `after` parameter of its original URL."""
    run_id = (await agent.post(SIMULATE, {"delay_ms": 0})).headers["x-run-id"]
    response = await agent.client.get(events_url(run_id), params={"after": 0}, headers={"last-event-id": "3"})
    assert parse_frames(response.content)[0]["seq"] == 4


async def test_cursors_that_can_t_be_served_say_so(agent: Service) -> None:
    """No cursor waits silently: nothing left is 204, a future event 409, not a number 400 and an unknown run 404."""
    response = await agent.post(SIMULATE, {"delay_ms": 0})
    run_id, last = response.headers["x-run-id"], parse_frames(response.content)[-1]["seq"]

    async def status(run: str, cursor: str) -> tuple[int, str]:
        answered = await agent.client.get(events_url(run), params={"after": cursor})
        return answered.status_code, answered.json()["error"]["code"] if answered.content else ""

    assert await status(run_id, str(last)) == (204, "")
    assert await status(run_id, str(last + 1)) == (409, "cursor_ahead")
    for nonsense in ("x", "-1", "1.5", "٣", "9" * 30):
        assert await status(run_id, nonsense) == (400, "invalid_cursor")
    assert await status("run_unknown", "0") == (404, "run_not_found")


async def test_an_expired_run_is_gone() -> None:
    """The events of a run past its retention are 410, not 404. Its record still reports how it ended."""
    memory: dict[str, Any] = {"event_log_url": "memory://", "memory_log_bytes": 1024 * 1024}
    async with FakeDedalus() as fake, service(fake.url, **memory) as agent:
        first = (await agent.post(SIMULATE, {"delay_ms": 0})).headers["x-run-id"]
        fake.always(Text("x" * 200_000), Finish("stop"), Done())
        for _ in range(6):
            await agent.post(STREAM, {"input": "?"})
        await agent.app.state.write_behind.flush()  # runs make room once their records are written
        response = await agent.client.get(events_url(first))
        run = await agent.client.get(f"/api/agent/runs/{first}")
    assert (response.status_code, response.json()["error"]["code"]) == (410, "run_expired")
    assert (run.status_code, run.json()["status"]) == (200, "succeeded")


async def test_a_late_reader_follows_live(fake: FakeDedalus, shared: Service) -> None:
    """A second reader gets the past events and then the same live events as the first."""
    gate = Gate()
    fake.turn(Text("past "), WaitFor(gate), Text("future"), Finish("stop"), Done())
    async with reading(shared) as first, attached(shared, first.run_id) as second:
        await first.until(b'"past "')
        await second.until(b'"past "')
        gate.open()
        assert await second.rest() == await first.rest()


async def test_a_client_that_leaves_at_any_event_can_resume_to_the_same_run() -> None:
    """After a disconnect at any event, the run continues within the grace period and the missed events can be read."""
    async with FakeDedalus() as fake, service(fake.url, disconnect_grace_s=30) as agent:
        fake.always(*[Text(word) for word in WORDS], Finish("stop"), Done(), split=40)
        whole = len(await agent.stream({"input": "?"}))
        for index in range(1, whole + 1):
            async with reading(agent) as reader:
                seen = await reader.until(b"id: %d\n" % index)
            seen = seen[: seen.rindex(b"\n\n") + 2]
            last = parse_frames(seen)[-1]["seq"]
            rest = await agent.client.get(events_url(reader.run_id), params={"after": last})
            events = checked(seen + rest.content)
            assert text(events) == "".join(WORDS)
            assert events[-1]["data"]["status"] == "succeeded"


async def test_a_run_that_nobody_reads_is_cancelled_after_the_grace() -> None:
    """Promise 3: the upstream's connection is closed, and the log ends with complete{cancelled}."""
    async with FakeDedalus() as fake, service(fake.url, disconnect_grace_s=0.05) as agent:
        fake.turn(Text("one"), Stall())
        async with reading(agent) as reader:
            await reader.until(b'"one"')
        await fake.wait_closed(fake.chats[0].connection, timeout=1.05)
        assert (await ended(agent, reader.run_id))["status"] == "cancelled"


async def test_a_reader_that_comes_back_keeps_the_run_alive() -> None:
    """A reader that returns within the grace period keeps the run alive for longer than the period, and misses
    nothing.
    """
    gate = Gate()
    async with FakeDedalus() as fake, service(fake.url, disconnect_grace_s=0.3, heartbeat_s=0.1) as agent:
        fake.turn(Text("one "), WaitFor(gate), Text("two"), Finish("stop"), Done())
        async with reading(agent) as first:
            await first.until(b'"one "')
        async with attached(agent, first.run_id) as again:
            await again.until(b": ping", times=6)
            gate.open()
            assert text(checked(await again.rest())) == "one two"


async def test_a_client_that_polls_keeps_the_run_alive() -> None:
    """Each poll restarts the grace period, so a run that is only polled lives longer than the period."""
    gate = Gate()
    async with FakeDedalus() as fake, service(fake.url, disconnect_grace_s=0.3) as agent:
        fake.turn(Text("one "), WaitFor(gate), Text("two"), Finish("stop"), Done())
        async with reading(agent) as reader:
            await reader.until(b'"one "')
        polls = events_url(reader.run_id)
        until = asyncio.get_running_loop().time() + 0.6
        while asyncio.get_running_loop().time() < until:
            (await agent.client.get(polls, params={"wait": "false"})).raise_for_status()
        gate.open()
        assert (await ended(agent, reader.run_id))["status"] == "succeeded"


async def test_a_run_may_continue_without_a_reader() -> None:
    """With `on_disconnect: continue` the run reaches its end without a reader."""
    gate = Gate()
    async with FakeDedalus() as fake, service(fake.url, disconnect_grace_s=0) as agent:
        fake.turn(Text("one "), WaitFor(gate), Text("two"), Finish("stop"), Done())
        async with reading(agent, on_disconnect="continue") as reader:
            await reader.until(b'"one "')
        gate.open()
        assert (await ended(agent, reader.run_id))["status"] == "succeeded"


async def test_cancel_ends_the_run_and_closes_the_upstream() -> None:
    """Promise 3: cancel returns 202 at once and is idempotent.

    Within two seconds the log has complete{cancelled} and the upstream is closed.
    """
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Text("one"), Stall())
        async with reading(agent) as reader:
            await reader.until(b'"one"')
            run = f"/api/agent/runs/{reader.run_id}"
            cancelled = await agent.client.post(f"{run}/cancel")
            again = await agent.client.post(f"{run}/cancel")
            async with asyncio.timeout(2):
                events = checked(await reader.rest())
        await fake.wait_closed(fake.chats[0].connection, timeout=1)
        late = await agent.client.post(f"{run}/cancel")
    assert [cancelled.status_code, again.status_code, late.status_code] == [202, 202, 202]
    assert late.json()["status"] == events[-1]["data"]["status"] == "cancelled"
    assert not only(events, "error")
    assert not only(events, "final_output")


async def test_cancel_of_a_run_that_has_ended_changes_nothing(agent: Service) -> None:
    """A run that has succeeded keeps this status."""
    run_id = (await agent.post(SIMULATE, {"delay_ms": 0})).headers["x-run-id"]
    assert (await agent.client.post(f"/api/agent/runs/{run_id}/cancel")).json()["status"] == "succeeded"


async def test_execute_notices_a_client_that_left() -> None:
    """Promise 3: a JSON request has no grace period. Its run is cancelled and the upstream closed within a second."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Text("one"), Stall())
        asked = asyncio.create_task(agent.post(EXECUTE, {"input": "?"}))
        [chat] = await fake.wait_for_requests(1)
        asked.cancel()
        await asyncio.wait({asked})
        await fake.wait_closed(chat.connection, timeout=1)


async def test_a_run_has_a_time_limit() -> None:
    """A run longer than RUN_TIMEOUT_S fails with its own code."""
    async with FakeDedalus() as fake, service(fake.url, run_timeout_s=0.1) as agent:
        fake.turn(Text("one"), Stall())
        events = await agent.stream({"input": "?"})
    [error] = only(events, "error")
    assert (error["code"], error["retryable"]) == ("run_timeout", True)


async def test_a_full_server_refuses_at_once_and_stays_healthy() -> None:
    """Promise 7: at the limit of runs a request is a 503 with Retry-After, and the health check still answers."""
    async with FakeDedalus() as fake, service(fake.url, max_concurrent_runs=1) as agent:
        fake.turn(Stall())
        async with reading(agent):
            refused = await agent.post(STREAM, {"input": "?"})
            health = await agent.client.get("/health")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_full")
    assert int(refused.headers["retry-after"]) > 0
    assert health.status_code == 200


async def test_a_run_too_many_finds_room_again() -> None:
    """A run that ends frees its slot at once."""
    async with FakeDedalus() as fake, service(fake.url, max_concurrent_runs=1) as agent:
        fake.always(*answer("ok"))
        for _ in range(3):
            assert names(await agent.stream({"input": "?"}))[-1] == "complete"


async def test_a_torn_body_is_never_a_clean_end(agent: Service) -> None:
    """Promise 1: the scenario `truncated` breaks the body off as a proxy would.

    The run continues, and a new reader gets the rest.
    """
    async with reading(agent, SIMULATE, scenario="truncated", delay_ms=1) as reader:
        with pytest.raises(httpx.RemoteProtocolError):
            await reader.rest()
        seen = parse_frames(reader.seen)
        check_grammar(seen, prefix=True)
        check_grammar(seen + await agent.events(reader.run_id, after=seen[-1]["seq"]))


async def test_the_scripted_runs_keep_the_contract(agent: Service) -> None:
    """Every scenario but the torn and the slow one keeps the contract, and the same request returns the same events."""
    for scenario in ("default", "long", "tool_error", "error"):
        body = {"scenario": scenario, "delay_ms": 0}
        answers = [await agent.post(SIMULATE, body, **{"x-request-id": "same"}) for _ in range(2)]
        runs = [checked(answered.content) for answered in answers]
        said = [[(event["event"], event["data"]) for event in run[:-1]] for run in runs]
        assert json.dumps(said[0]) == json.dumps(said[1])
        assert runs[0][-1]["data"]["status"] == ("failed" if scenario == "error" else "succeeded")
        if scenario == "tool_error":
            assert [result["is_error"] for result in only(runs[0], "tool_result")] == [True]
        if scenario == "default":
            assert {"thinking", "tool_use_delta", "tool_use", "tool_result"} < set(names(runs[0]))


async def test_slow_is_silent_but_alive() -> None:
    """The `slow` scenario sends only heartbeats for 30 s before its first token, and can be cancelled meanwhile."""
    beats = list(script(SimulateRequest(scenario=Scenario.SLOW)))
    assert beats[1] == Silence(30.0)
    assert isinstance(beats[2], PartialOutput)
    async with (
        service(NOWHERE, heartbeat_s=0.05) as agent,
        reading(agent, SIMULATE, scenario="slow", delay_ms=0) as reader,
    ):
        await reader.until(b": ping\n\n", times=4)
        await agent.client.post(f"/api/agent/runs/{reader.run_id}/cancel")
        assert names(checked(await reader.rest())) == ["run_started", "step_started", "complete"]


async def test_a_server_that_stops_ends_its_runs() -> None:
    """A run under way when the server closes fails as interrupted, and its readers get `draining` and a clean end."""
    async with FakeDedalus() as fake, service(fake.url) as agent:
        fake.turn(Text("one"), Stall())
        async with reading(agent) as reader:
            await reader.until(b'"one"')
            await agent.app.state.live.aclose()
            await reader.rest()
        run = await agent.client.get(f"/api/agent/runs/{reader.run_id}")
        refused = await agent.post(STREAM, {"input": "?"})
        ready = await agent.client.get("/ready")
    assert b"event: draining\nretry: " in reader.seen or b"event: complete" in reader.seen
    assert run.json()["error"]["code"] == "interrupted"
    assert (refused.status_code, ready.status_code) == (503, 503)
    assert int(refused.headers["retry-after"]) > 0


async def test_nothing_is_written_into_the_middle_of_a_frame() -> None:
    """While a slow reader receives a frame of megabytes, pings and `draining` wait until the frame is complete."""
    long = "\x01" * 60_000  # each character is six on the wire
    narrow = httpx.AsyncHTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)])
    async with (
        FakeDedalus() as fake,
        service(fake.url, heartbeat_s=0.05) as agent,
        httpx.AsyncClient(base_url=agent.url, transport=narrow, timeout=30) as client,
    ):
        fake.turn(*[Text(long)] * 5, Finish("stop"), Done())
        run_id = (await agent.post(STREAM, {"input": "?"})).headers["x-run-id"]
        for listening in agent.server.servers[0].sockets:  # connections inherit it
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        async with client.stream("GET", events_url(run_id)) as response:
            reader = Reader(response)
            await reader.until(b"event: final_output")
            async with agent.client.stream("POST", SIMULATE, json={"delay_ms": 50}) as clock:
                await Reader(clock).until(b": ping", times=6)
            draining = asyncio.create_task(agent.app.state.live.drain())
            await reader.rest()
            await draining
    assert names(checked(reader.seen))[-1] == "complete"
    assert reader.seen.count(b": ping") > 1


async def test_a_drain_waits_for_readers_of_runs_that_have_ended() -> None:
    """A reader that replays a finished run when the server begins to stop gets all of it."""
    async with service(NOWHERE) as agent:
        run_id = (await agent.post(SIMULATE, {"delay_ms": 0})).headers["x-run-id"]
        stream = await agent.app.state.service.follow(ANONYMOUS, run_id, 0)
        async with stream as frames:
            draining = asyncio.create_task(agent.app.state.live.drain())
            body = b"".join([page async for page in frames])
            assert not draining.done()
        await draining
    assert names(checked(body))[-1] == "complete"
