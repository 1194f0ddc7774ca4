"""Tests SIGTERM under load: no client is left with half a stream, and the process ends in time."""

import asyncio
import json
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from chaos.asks import RUNS, STREAM
from chaos.server import OPEN, Server, crashing_server
from fake_dedalus import FakeDedalus
from grammar import check_grammar, parse_frames
from process import Nursery
from wire import Done, Finish, Gate, Role, Step, Text, ToolCall, WaitFor

pytestmark = pytest.mark.anyio

STREAMS = 200
DRAIN_S = 3
GONE_S = DRAIN_S + 5  # the promise: 30 s for the default of 25
DRAINING = b"event: draining\nretry: 2000\n\n"


def client_of(server: Server) -> httpx.AsyncClient:
    """Return a client for one reader. With hundreds of connections, one client's pool is slower than the service."""
    return httpx.AsyncClient(base_url=server.url, timeout=60, verify=False)


class Reader:
    """One client's stream: the bytes so far, and whether its body has ended cleanly."""

    def __init__(self) -> None:
        self.run_id = ""
        self.body = b""
        self.clean = False
        self.begun = asyncio.Event()  # set at the first text
        self.calls = asyncio.Event()  # set at the first tool call

    async def read(self, server: Server, question: str) -> None:
        async with (
            client_of(server) as client,
            client.stream("POST", STREAM, json={"input": question}) as response,
        ):
            assert response.status_code == 200, await response.aread()
            self.run_id = response.headers["x-run-id"]
            async for piece in response.aiter_raw():
                self.body += piece
                if b"\nevent: partial_output\n" in self.body:
                    self.begun.set()
                if b"\nevent: tool_use\n" in self.body:
                    self.calls.set()
        self.clean = True

    def last_seq(self) -> int:
        return len(self.events())

    def events(self) -> list[dict[str, Any]]:
        return parse_frames(self.body)


def two_in_three_end(gate: Gate, never: Gate) -> Any:
    """An upstream that ends two of three answers when the gate opens, and never ends the third."""

    def choose(body: dict[str, Any]) -> list[Step]:
        number = int(body["messages"][-1]["content"])
        return [Role(), Text("one "), WaitFor(gate if number % 3 else never), Text("two"), Finish("stop"), Done()]

    return choose


async def test_sigterm_with_200_open_streams(nursery: Nursery, tmp_path: Path) -> None:
    """Each stream ends cleanly with `complete` or `draining`. After the restart each has exactly one `complete`."""
    gate, never = Gate(), Gate()
    with FakeDedalus.in_thread() as fake, crashing_server(nursery, tmp_path, fake.url, DRAIN_S=str(DRAIN_S)) as server:
        fake.choose(two_in_three_end(gate, never))
        await server.start(OPEN)
        readers = [Reader() for _ in range(STREAMS)]
        reading = [asyncio.create_task(reader.read(server, str(n))) for n, reader in enumerate(readers)]
        await asyncio.gather(*(reader.begun.wait() for reader in readers))
        started = time.monotonic()
        server.send(signal.SIGTERM)
        gate.open()
        await asyncio.gather(*reading)
        status = await server.gone()
        took = time.monotonic() - started
        assert status == -signal.SIGTERM
        assert took < GONE_S
        ends = Counter(how_it_ended(reader) for reader in readers)
        assert ends["complete"] > 0
        assert ends["draining"] >= STREAMS // 3  # the streams that don't end, and a few others on a busy machine
        assert server.active() == []  # the ends of all runs are in the log, and recorded
        await server.start()
        async with asyncio.TaskGroup() as group:
            for number, reader in enumerate(readers):
                group.create_task(resumed(server, reader, "succeeded" if number % 3 else "failed"))


def how_it_ended(reader: Reader) -> str:
    """Return which of the two possible ends a body has."""
    assert reader.clean
    drained = reader.body.endswith(DRAINING)
    check_grammar(reader.body, prefix=drained)
    return "draining" if drained else "complete"


async def resumed(server: Server, reader: Reader, meant: str) -> None:
    """Check that the rest of a run continues the reader's bytes exactly, up to its single `complete`."""
    path = f"{RUNS}/{reader.run_id}/events"
    async with client_of(server) as client:
        rest = await client.get(path, headers={"Last-Event-ID": str(reader.last_seq())})
        whole = await client.get(path, params={"after": 0})
    check_grammar(whole.content)
    if how_it_ended(reader) == "complete":
        assert rest.status_code == 204
    assert frames(reader.body) + frames(rest.content) == frames(whole.content)
    status = parse_frames(whole.content)[-1]["data"]["status"]
    assert status == meant or (how_it_ended(reader), status) == ("draining", "failed")


def frames(body: bytes) -> list[bytes]:
    return [frame for frame in body.split(b"\n\n") if frame.startswith(b"id: ")]


async def test_a_tool_that_ignores_being_cancelled_does_not_hold_up_the_end(nursery: Nursery, tmp_path: Path) -> None:
    """For a run whose tool continues for 10 s, the log has its end, its reader is disconnected and the process ends
    in time.
    """
    with FakeDedalus.in_thread() as fake, crashing_server(nursery, tmp_path, fake.url, DRAIN_S=str(DRAIN_S)) as server:
        fake.turn(Role(), ToolCall("call_1", "stubborn", json.dumps({"seconds": 10})), Finish("tool_calls"), Done())
        await server.start(OPEN)
        reader = Reader()
        reading = asyncio.create_task(reader.read(server, "?"))
        await reader.calls.wait()
        started = time.monotonic()
        server.send(signal.SIGTERM)
        await reading
        await server.gone()
        took = time.monotonic() - started
        assert took < GONE_S
        assert how_it_ended(reader) == "draining"
        written = server.file(reader.run_id).read_bytes()
        check_grammar(written)
        assert [event["data"].get("code") for event in parse_frames(written)][-2:] == ["interrupted", None]
        await server.start()
        async with client_of(server) as client:
            [row] = (await client.get(RUNS)).json()["runs"]
        assert (row["status"], row["error"]["code"]) == ("failed", "interrupted")
        assert server.active() == []


async def test_a_cancelled_run_whose_tool_continues_ends_within_two_seconds(nursery: Nursery, tmp_path: Path) -> None:
    """Promise 3: cancelling a run doesn't wait for its tool either."""
    with FakeDedalus.in_thread() as fake, crashing_server(nursery, tmp_path, fake.url) as server:
        fake.turn(Role(), ToolCall("call_1", "stubborn", json.dumps({"seconds": 10})), Finish("tool_calls"), Done())
        await server.start(OPEN)
        reader = Reader()
        async with client_of(server) as client:
            reading = asyncio.create_task(reader.read(server, "?"))
            await reader.calls.wait()
            started = time.monotonic()
            assert (await client.post(f"{RUNS}/{reader.run_id}/cancel")).status_code == 202
            await reading
            took = time.monotonic() - started
    assert how_it_ended(reader) == "complete"
    assert reader.events()[-1]["data"]["status"] == "cancelled"
    assert took < 2
