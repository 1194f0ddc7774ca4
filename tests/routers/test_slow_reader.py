"""Tests the cost of a stalled reader while much data passes elsewhere, measured on the service's process.

SLOW_READER_MB=500 passes 500 MB and cuts the readers after two minutes; the default is 16 MB and 4 s.
"""

import asyncio
import os
import re
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from chaos.asks import RUNS, STREAM
from chaos.server import OPEN, Server, crashing_server
from fake_dedalus import FakeDedalus
from grammar import check_grammar, parse_frames
from process import Nursery
from wire import Done, Finish, Gate, Step, Text, WaitFor

pytestmark = pytest.mark.anyio

KIB = 1024
MIB = 1024 * KIB
PROMISED_BYTES = 256 * KIB
HELD_BYTES = 192_000
MORE_READERS = 8
PATIENT = {"SEND_TIMEOUT_S": "3600", "MAX_OUTPUT_BYTES": str(64 * MIB)}
PIECE = "x" * 60_000
RUN_BYTES = 8 * MIB  # more than the kernel holds for a reader
OTHER_RUN_BYTES = MIB
PASSED_BYTES = int(os.environ.get("SLOW_READER_MB", "16")) * MIB
WARM_UP_BYTES = 8 * MIB
# One reader costs about 210 KiB. There are enough of them that other changes of some megabytes don't show.
READERS, SEND_TIMEOUT_S = (300, 120) if PASSED_BYTES >= 500 * MIB else (200, 4)


def here(gate: Gate) -> list[Step]:
    """A service with a long answer, whose last word waits."""
    return [Text(*[PIECE] * (RUN_BYTES // len(PIECE))), WaitFor(gate), Text("end"), Finish(), Done()]


ELSEWHERE: list[Step] = [Text(*[PIECE] * (OTHER_RUN_BYTES // len(PIECE))), Finish(), Done()]


def rss(server: Server) -> int:
    """The resident memory of the service's process, in bytes."""
    [line] = [line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def connections(server: Server) -> int:
    """The number of sockets that the service's process holds."""
    count = 0
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            count += str(descriptor.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


async def passed(server: Server, size: int) -> int:
    """Send this many bytes of events through other runs, which are read as fast as they arrive.

    Return the memory that the service needs after that.
    """
    for _ in range(0, size, 4 * OTHER_RUN_BYTES):
        await asyncio.gather(*(other_run(server) for _ in range(4)))
    needed = []
    for _ in range(3):  # a run may still be about to free its memory
        await server.collect_garbage()
        needed.append(rss(server))
    return min(needed)


async def other_run(server: Server) -> None:
    """Start another run, and read it to its end."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b'{"input": "elsewhere"}'
    head = f"POST {STREAM} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    received, last = 0, b""
    while piece := await reader.read(MIB):
        received, last = received + len(piece), (last + piece)[-4096:]
    writer.close()
    assert b"\nevent: complete\n" in last
    assert received > 0.9 * OTHER_RUN_BYTES


def stopped_reader(server: Server, run_id: str) -> socket.socket:
    """A reader that reads nothing of its run; the kernel buffers little for it."""
    host, port = server.url.removeprefix("http://").split(":")
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((host, int(port)))
    reader.sendall(f"GET {RUNS}/{run_id}/events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return reader


@pytest.mark.timeout(60 + PASSED_BYTES // MIB + SEND_TIMEOUT_S)
async def test_a_stopped_reader_costs_no_more_than_promised(nursery: Nursery, tmp_path: Path) -> None:
    """Each costs 256 KiB at most while megabytes pass elsewhere.

    It is cut in time, and a new connection reads the rest.
    """
    gate = Gate()
    settings = {"SEND_TIMEOUT_S": str(SEND_TIMEOUT_S), "MAX_OUTPUT_BYTES": str(RUN_BYTES), "HEARTBEAT_S": "1"}
    with FakeDedalus.in_thread() as fake, crashing_server(nursery, tmp_path, fake.url, **settings) as server:
        fake.choose(lambda body: here(gate) if body["messages"][-1]["content"] == "here" else ELSEWHERE)
        await server.start(OPEN)
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            run_id = (await client.post(RUNS, json={"input": "here"})).json()["run_id"]
            await gate.wait_reached(timeout=30)
            await passed(server, WARM_UP_BYTES)  # allocates memory that stays allocated
            before = max(await passed(server, WARM_UP_BYTES), await passed(server, WARM_UP_BYTES))
            idle = connections(server)
            started = time.monotonic()
            readers = [stopped_reader(server, run_id) for _ in range(READERS)]
            during, held = await passed(server, PASSED_BYTES), connections(server) - idle
            took = time.monotonic() - started
            assert held > 0.9 * READERS or took > 0.9 * SEND_TIMEOUT_S  # on a machine this slow the test proves nothing
            assert (during - before) / READERS < PROMISED_BYTES
            await cut(server, idle)
            assert time.monotonic() - started > 0.9 * SEND_TIMEOUT_S
            gate.open()
            whole = frames((await client.get(f"{RUNS}/{run_id}/events")).content)
            check_grammar(b"".join(whole))
            for reader in readers[:: READERS // 5]:
                seen = frames(taken(reader))
                last = parse_frames(b"".join(seen))[-1]["seq"]
                rest = await client.get(f"{RUNS}/{run_id}/events", headers={"Last-Event-ID": str(last)})
                assert seen + frames(rest.content) == whole
        for reader in readers:
            reader.close()


@pytest.mark.parametrize(("pieces", "size"), [(100, 60_000), (4000, 1000)])
async def test_the_service_holds_little_for_a_stopped_reader(
    nursery: Nursery, tmp_path: Path, pieces: int, size: int
) -> None:
    """Each costs at most 192 kB of the service's own memory, whatever the events' size, traced in its real process."""
    with FakeDedalus.in_thread() as fake, crashing_server(nursery, tmp_path, fake.url, **PATIENT) as server:
        fake.always(Text(*["x" * size] * pieces), Finish(), Done())
        await server.start(OPEN)
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            run = await client.post(STREAM, json={"input": "?"})
            assert len(run.content) > 4 * MIB
            one = await stopped_readers(server, run.headers["x-run-id"], 1)
            more = await stopped_readers(server, run.headers["x-run-id"], 1 + MORE_READERS)
    assert 16 * KIB < (more - one) / MORE_READERS < HELD_BYTES


async def stopped_readers(server: Server, run_id: str, count: int) -> int:
    """The service's traced memory with this many more stalled readers, each of which has its response's head."""
    with ExitStack() as stack:
        readers = [stack.enter_context(stopped_reader(server, run_id)) for _ in range(count)]
        for reader in readers:
            await asyncio.to_thread(reader.recv, 1, socket.MSG_PEEK)
        return await settled(server)


async def settled(server: Server) -> int:
    """The service's traced memory, once it is stable."""
    traced, before = await server.traced(), -1
    while abs(traced - before) > 16 * KIB:
        traced, before = await server.traced(), traced
    return traced


async def cut(server: Server, idle: int) -> None:
    """Return when the service has closed all connections but those."""
    async with asyncio.timeout(SEND_TIMEOUT_S + 30):
        while connections(server) > idle:  # noqa: ASYNC110 - no event reports it
            await asyncio.sleep(0.05)


def taken(reader: socket.socket) -> bytes:
    """Return what the kernel buffered for a reader that was cut."""
    body = b""
    try:
        while piece := reader.recv(65536):
            body += piece
    except ConnectionError:
        pass
    return body


def frames(body: bytes) -> list[bytes]:
    """The whole frames of a body that are events. The body on the wire has chunk headers between them."""
    *whole, _ = re.sub(rb"\r\n[0-9a-f]*\r\n|\r\n", b"", body).split(b"\n\n")
    return [frame + b"\n\n" for frame in whole if frame.startswith(b"id: ")]
