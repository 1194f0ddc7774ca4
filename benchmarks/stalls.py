"""Measures how long each attack, and each large valid request, blocks the service's event loop at worst.

A process of its own asks `/health` every 5 ms, so the cost of the attack in this process doesn't affect the figures.
The measure is the CPU time that the service used while a check waited, because other work on the machine doesn't change
it. See README.md.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import select
import socket
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import httpx
from attacks import ATTACKS, MEGABYTE, Attacked

HERE = Path(__file__).resolve().parent
BOUND_MS = 50.0
INTERVAL_S = 0.005
SETTLE_S = 0.3  # for the work that a run leaves after its answer
HEAD = """\
| attack | worked while a check waited, ms | longest wait, ms | asked late by, ms | more memory at the peak, MB |
|---|--:|--:|--:|--:|"""
CHECK = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
SLOW_WORDS = 200
LONGEST_S = 60.0  # of one attack; one that takes longer has failed


def probe(port: int, pid: int) -> None:
    """Ask `/health` every 5 ms. For each line of standard input, print the worst figures since the line before."""
    clock = ~pid << 3 | 2  # the CPU time of all the service's threads, as clock_getcpuclockid(3) gives it
    connection = socket.create_connection(("127.0.0.1", port))
    waits, work, lateness = [0.0], [0.0], [0.0]
    due = time.perf_counter()
    while True:
        due = max(due + INTERVAL_S, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))
        started, worked = time.perf_counter(), time.clock_gettime(clock)
        lateness.append(started - due)
        connection.sendall(CHECK)
        answer = b""
        while not answer.endswith(b"}"):
            if not (piece := connection.recv(65536)):
                return  # the service has ended
            answer += piece
        waits.append(time.perf_counter() - started)
        work.append(time.clock_gettime(clock) - worked)
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                return  # the process that started this one has ended
            print(json.dumps([max(work), max(waits), max(lateness)]), flush=True)
            waits, work, lateness = [0.0], [0.0], [0.0]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as a model server: with one word at once, or many slowly. Close the connection of an invalid request."""
    with closing(writer), suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            slowly = b'"slowly"' in (await body(reader, head))[:1000]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(SLOW_WORDS if slowly else 1):
                writer.write(chunk(b'{"choices":[{"index":0,"delta":{"content":"word "}}]}'))
                await asyncio.sleep(0.02 * slowly)
            writer.write(chunk(b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}') + chunk(b"[DONE]"))
            writer.write(b"0\r\n\r\n")
            await writer.drain()


async def body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Read a request's body, with a length or in chunks. Raise `asyncio.IncompleteReadError` if it is cut."""
    if length := re.search(rb"(?i)content-length: (\d+)", head):
        return await reader.readexactly(int(length[1]))
    pieces = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(len(b"\r\n"))
    await reader.readexactly(len(b"\r\n"))
    return b"".join(pieces)


def chunk(data: bytes) -> bytes:
    """Return one event as a chunk of a body."""
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


@asynccontextmanager
async def serving(folder: str) -> AsyncIterator[Attacked]:
    """Run the service with an upstream, and with a tool and an MCP server that have large results."""
    upstream = await asyncio.start_server(answer, "127.0.0.1", 0, limit=64 * MEGABYTE)
    settings = {
        "PORT": "0",
        "DATA_DIR": folder,
        "DEDALUS_BASE_URL": f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}",
        "DEFAULT_MODEL": "m",
        "MARKETPLACE_URL": "",
        "AGENT_TOOLS": "benchmarks.large_results",
        "MCP_SERVERS": json.dumps({"large": {"command": sys.executable, "args": [str(HERE / "large_results.py")]}}),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "app.py",
        cwd=HERE.parent,
        env=os.environ | settings,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        port = await listening(process.stderr)
        ignoring = asyncio.create_task(ignored(process.stderr))
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)  # the service may close idle ones
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, limits=limits) as client:
            yield Attacked(port, process.pid, client, Path(folder, "agent_stream.db"))
        ignoring.cancel()
    finally:
        process.kill()
        await process.wait()
        upstream.close()


async def listening(log: asyncio.StreamReader) -> int:
    """Return the port that the service logs. Raise `RuntimeError` if it ends before."""
    while line := await log.readline():
        if found := re.search(rb"running on http://\S+:(\d+)", line):
            return int(found[1])
    raise RuntimeError("the service did not start")


async def ignored(log: asyncio.StreamReader) -> None:
    """Read the service's log, so that the pipe doesn't fill up and block the service."""
    while await log.read(65536):
        pass


async def measure(names: list[str]) -> bool:
    """Print a line for each attack. Return whether all are within the bound."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with serving(folder) as service, probing(service) as prober:
            return all([await measured(name, service, prober) for name in names])


async def measured(name: str, service: Attacked, prober: Process) -> bool:
    """Print the line of one attack. Return whether it is within the bound. Raise `TimeoutError` after LONGEST_S."""
    await worst(prober)
    service.forget_memory()
    before = service.memory_mb()
    async with asyncio.timeout(LONGEST_S):
        await ATTACKS[name](service)
    await asyncio.sleep(SETTLE_S)
    work, wait, late = await worst(prober)
    more = service.memory_mb() - before
    print(f"| {name} | {work:.1f} | {wait:.1f} | {late:.1f} | {more} |", flush=True)
    return work <= BOUND_MS


@asynccontextmanager
async def probing(service: Attacked) -> AsyncIterator[Process]:
    """Run the process that asks `/health` for the length of a block."""
    words = (__file__, "--probe", str(service.port), str(service.pid))
    pipe = asyncio.subprocess.PIPE
    prober = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=pipe, stdout=pipe)
    try:
        yield prober
    finally:
        prober.kill()
        await prober.wait()


async def worst(prober: Process) -> tuple[float, float, float]:
    """Return the worst work, wait and lateness since the last call, in milliseconds."""
    assert prober.stdin is not None
    assert prober.stdout is not None
    prober.stdin.write(b"\n")
    work, wait, late = json.loads(await prober.stdout.readline())
    return work * 1000, wait * 1000, late * 1000


def main() -> int:
    """Measure, print the table, and return the exit status: 1 if one is above the bound."""
    parser = argparse.ArgumentParser(description="Measure how long requests block the service. See README.md.")
    parser.add_argument(
        "--attack", action="append", help="run only attacks with this text in their name (may be repeated)"
    )
    parser.add_argument("--probe", type=int, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.probe:
        probe(*given.probe)
        return 0
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(HEAD)
    names = [name for name in ATTACKS if not given.attack or any(part in name for part in given.attack)]
    return 0 if asyncio.run(measure(names)) else 1


if __name__ == "__main__":
    sys.exit(main())
