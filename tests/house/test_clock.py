"""Tests promise 10: setting the clock forward and back by an hour changes nothing.

libfaketime sets the service's clock. Only the time of day changes. The monotonic clock doesn't, as on a real machine.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from chaos.asks import RUNS, STREAM
from chaos.server import OPEN, Server, crashing_server
from fake_dedalus import FakeDedalus
from grammar import check_grammar, parse_frames
from process import Nursery, opened_nursery
from wire import Done, Finish, Gate, Stall, Text, WaitFor, answer

pytestmark = pytest.mark.anyio

HOUR_S = 3600
SOON_S = 20  # seconds that a wait of one second may take on a busy machine, far less than an hour


class Clock:
    """The service's clock, as its offset from the test's."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(0)

    def set(self, offset_s: int) -> None:
        """Set the offset at once. The file exists at every moment."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset_s:+d}")
        new.rename(self.file)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock") / "offset")


@pytest.fixture(scope="module", name="nursery")
def nursery_with_that_clock(clock: Clock) -> Iterator[Nursery]:
    package = find_spec("libfaketime")
    assert package is not None, "libfaketime is not installed: ./run.sh test installs it"
    assert package.origin is not None
    library = Path(package.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock.file),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # without it waits on that clock are wrong by the hour
        "NO_FAKE_STAT": "1",
    }
    with opened_nursery(**faked) as made:
        yield made


@pytest.fixture(autouse=True)
def right_at_first(clock: Clock) -> None:
    clock.set(0)


@asynccontextmanager
async def service(nursery: Nursery, directory: Path, fake: FakeDedalus, **settings: str) -> AsyncIterator[Server]:
    with crashing_server(nursery, directory, fake.url, **settings) as server:
        await server.start(OPEN)
        yield server


def client_of(server: Server) -> httpx.AsyncClient:
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=server.url, timeout=30, limits=limits)


class Reader:
    """Reads a stream piece by piece."""

    def __init__(self, response: httpx.Response) -> None:
        self.run_id = response.headers["x-run-id"]
        self.body = b""
        self._pieces = response.aiter_raw()

    async def until(self, what: bytes, times: int = 1) -> None:
        """Read until this text has arrived this number of times in all."""
        while self.body.count(what) < times:
            self.body += await anext(self._pieces)

    async def rest(self) -> list[dict[str, Any]]:
        """Read to the end and return all events."""
        async for piece in self._pieces:
            self.body += piece
        return parse_frames(self.body)


def ahead_s(event: dict[str, Any]) -> float:
    """Return how far an event's time was ahead of the test's clock, for an event that was written just now."""
    return (datetime.fromisoformat(event["timestamp"]) - datetime.now(UTC)).total_seconds()


async def test_a_run_continues_whatever_the_clock_says(nursery: Nursery, clock: Clock, tmp_path: Path) -> None:
    """An hour forward and back during a run changes neither order, pings, deadlines nor the replay.

    The deadlines are all shorter than an hour, so each of them would have passed if it used this clock.
    """
    gates = [Gate(), Gate(), Gate()]
    with FakeDedalus.in_thread() as fake:
        async with service(nursery, tmp_path, fake, HEARTBEAT_S="0.1") as server, client_of(server) as client:
            fake.turn(
                *(step for n, gate in enumerate(gates) for step in (Text(f"{n} "), WaitFor(gate))), Finish(), Done()
            )
            started = time.monotonic()
            async with client.stream("POST", STREAM, json={"input": "?"}) as response:
                reader = Reader(response)
                for number, (gate, offset_s) in enumerate(zip(gates, (HOUR_S, -HOUR_S, 0), strict=True)):
                    await reader.until(b'{"content":"%d "}' % number)
                    clock.set(offset_s)
                    await reader.until(b": ping\n", reader.body.count(b": ping\n") + 3)
                    gate.open()
                events = await reader.rest()
            took_ms = (time.monotonic() - started) * 1000
            replay = await client.get(f"{RUNS}/{reader.run_id}/events", params={"after": 0})
            row = (await client.get(f"{RUNS}/{reader.run_id}")).json()
    check_grammar(reader.body)
    pieces = [event for event in events if event["event"] == "partial_output"]
    assert [round(ahead_s(event) / HOUR_S) for event in pieces] == [0, 1, -1]
    assert frames(replay.content) == frames(reader.body)
    complete = events[-1]["data"]
    assert (complete["status"], row["status"]) == ("succeeded", "succeeded")
    assert 0 <= complete["time_to_first_token_ms"] <= complete["duration_ms"] <= took_ms


def frames(body: bytes) -> list[bytes]:
    return [frame for frame in body.split(b"\n\n") if frame.startswith(b"id: ")]


async def test_a_reader_comes_back_within_the_grace(nursery: Nursery, clock: Clock, tmp_path: Path) -> None:
    """If the clock jumps by an hour while the run has no reader, the run still continues."""
    gate = Gate()
    with FakeDedalus.in_thread() as fake:
        async with service(nursery, tmp_path, fake, DISCONNECT_GRACE_S="30") as server, client_of(server) as client:
            fake.turn(Text("one "), WaitFor(gate), Text("two"), Finish(), Done())
            async with client.stream("POST", STREAM, json={"input": "?"}) as response:
                reader = Reader(response)
                await reader.until(b'"one "')
            clock.set(HOUR_S)
            for _ in range(20):  # some turns of the event loop, in which anything due would happen
                assert (await client.get(f"{RUNS}/{reader.run_id}")).json()["status"] == "running"
            gate.open()
            rest = await client.get(f"{RUNS}/{reader.run_id}/events", params={"after": 0})
    check_grammar(rest.content)
    assert parse_frames(rest.content)[-1]["data"]["status"] == "succeeded"


@pytest.mark.parametrize(
    ("setting", "code"),
    [("STALL_TIMEOUT_S", "upstream_stalled"), ("RUN_TIMEOUT_S", "run_timeout"), ("DISCONNECT_GRACE_S", None)],
)
async def test_deadlines_come_when_the_clock_is_set_back(
    nursery: Nursery, clock: Clock, tmp_path: Path, setting: str, code: str | None
) -> None:
    """After an hour back, what is due in a second still happens in a second."""
    with FakeDedalus.in_thread() as fake:
        async with service(nursery, tmp_path, fake, **{setting: "1"}) as server, client_of(server) as client:
            fake.turn(Text("one "), Stall())
            started = time.monotonic()
            async with client.stream("POST", STREAM, json={"input": "?"}) as response:
                clock.set(-HOUR_S)
                reader = Reader(response)
                if code is not None:
                    await reader.rest()
            await fake.wait_for_requests(1)
            await asyncio.to_thread(fake.wait_closed_sync, fake.chats[0].connection, SOON_S)
            took = time.monotonic() - started
            replay = await client.get(f"{RUNS}/{reader.run_id}/events", params={"after": 0})
    check_grammar(replay.content)
    codes = [event["data"]["code"] for event in parse_frames(replay.content) if event["event"] == "error"]
    assert codes == ([] if code is None else [code])
    assert 0.9 < took < SOON_S


async def test_a_restart_while_the_clock_is_an_hour_back(nursery: Nursery, clock: Clock, tmp_path: Path) -> None:
    """Nothing expires, lists have all runs, keys and sessions still work, and an interrupted run is ended."""
    with FakeDedalus.in_thread() as fake:
        async with service(nursery, tmp_path, fake, RETENTION_DAYS="1") as server, client_of(server) as client:
            fake.always(*answer("Yes."))
            first = await asked(client, "One?")
            once = await keyed(client)
            await client.get(f"{RUNS}/{once}/events")
            fake.turn(Text("I "), Stall())
            async with client.stream("POST", STREAM, json={"input": "Cut?"}) as response:
                cut = Reader(response)
                await cut.until(b'"I "')
                await server.kill()
            runs = [first.run_id, once, cut.run_id]
            for number, offset_s in enumerate((-HOUR_S, HOUR_S, -HOUR_S)):
                clock.set(offset_s)
                await server.start(OPEN)
                runs.append((await asked(client, f"And {number}?")).run_id)
                assert await keyed(client) == once
                await everything_is_there(client, runs)
                await server.kill()
            assert sorted(server.archived()) == sorted(runs)
    asked_before = [message["content"] for message in fake.chats[-1].body["messages"]]
    assert asked_before == ["One?", "Yes.", "And 0?", "Yes.", "And 1?", "Yes.", "And 2?"]
    events = parse_frames(frames_of(tmp_path, cut.run_id))
    assert [event["data"].get("code") for event in events][-2:] == ["interrupted", None]
    assert 0 <= events[-1]["data"]["duration_ms"] < SOON_S * 1000


async def asked(client: httpx.AsyncClient, question: str) -> Reader:
    """Run a request of the session to its end, and return its reader."""
    async with client.stream("POST", STREAM, json={"input": question, "session_id": "chat"}) as response:
        reader = Reader(response)
        await reader.rest()
    check_grammar(reader.body)
    return reader


async def keyed(client: httpx.AsyncClient) -> str:
    """Post the request with the key, and return its run's id."""
    response = await client.post(RUNS, json={"input": "Keyed?"}, headers={"Idempotency-Key": "once"})
    run_id: str = response.json()["run_id"]
    return run_id


async def everything_is_there(client: httpx.AsyncClient, runs: list[str]) -> None:
    """Check that every run is in the list, also in small pages, and can be read."""
    found: list[str] = []
    query: dict[str, str] | None = {"limit": "2"}
    while query is not None:
        page = (await client.get(RUNS, params=query)).json()
        found += [run["run_id"] for run in page["runs"]]
        query = {"limit": "2", "cursor": page["next_cursor"]} if "next_cursor" in page else None
    assert sorted(found) == sorted(runs)
    for run_id in runs:
        check_grammar((await client.get(f"{RUNS}/{run_id}/events", params={"after": 0})).content)


def frames_of(directory: Path, run_id: str) -> bytes:
    [file] = directory.glob(f"runs/*/{run_id}.sse")
    return file.read_bytes()
