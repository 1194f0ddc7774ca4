"""Large, slow and hostile requests, each as a function that sends it. See stalls.py."""

import asyncio
import json
import os
import re
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

MEGABYTE = 1_000_000
STREAM, EXECUTE = "/api/agent/stream", "/api/agent/execute"
TEXTS = {
    "ascii": "a",
    "line breaks": "\n",
    "quotes": '"',
    "chinese": "中",
    "emoji": "😀",
    "mixed": 'He said "hi" to the\nworld, é 中 😀.\t',
}


@dataclass
class Attacked:
    """The service under attack, and a client for it."""

    port: int
    pid: int
    client: httpx.AsyncClient
    database: Path

    async def post(self, path: str, content: bytes, **headers: str) -> httpx.Response:
        """Post JSON and return the response."""
        fields = {"content-type": "application/json", "accept": "application/json", **headers}
        return await self.client.post(path, content=content, headers=fields)

    async def ask(self, **body: Any) -> httpx.Response:
        """Start a run and return the response at its end."""
        response = await self.post(EXECUTE, _json(max_steps=2, **body))
        if response.status_code not in {200, 202, 422}:
            print(response.status_code, response.text[:200], file=sys.stderr)
        return response

    async def said(self, *pieces: bytes) -> bytes:
        """Send raw bytes, and return the response that arrives within a second."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with suppress(ConnectionError, TimeoutError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            async with asyncio.timeout(1):
                return await reader.read(65536)
        writer.close()
        return b""

    def memory_mb(self) -> int:
        """Return the peak of its memory since `forget_memory`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1000

    def forget_memory(self) -> None:
        """Reset the peak of its memory."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")


Attack = Callable[[Attacked], Awaitable[Any]]
ATTACKS: dict[str, Attack] = {}


def attack(name: str) -> Callable[[Attack], Attack]:
    """Register a function as an attack under a name."""

    def named(function: Attack) -> Attack:
        ATTACKS[name] = function
        return function

    return named


# Bodies


@attack("nothing")
async def nothing(service: Attacked) -> None:
    """Do nothing, which measures the machine."""
    await asyncio.sleep(3)


async def _send(body: Callable[[], bytes], service: Attacked) -> None:
    """Send a body three times."""
    content = body()
    for _ in range(3):
        await service.post(EXECUTE, content)


def _json(**body: Any) -> bytes:
    return json.dumps({"input": "?"} | body, ensure_ascii=False).encode()


def _text(piece: str) -> bytes:
    size = len(json.dumps(piece, ensure_ascii=False).encode()) - 2
    return _json(input="?" + piece * (9_800_000 // size))


def _values(*values: Any) -> bytes:
    return _json(response_format={"x": values})


UNFINISHED = b'{"input":"?","response_format":{"x":['
BODIES: dict[str, Callable[[], bytes]] = {
    "3,000,000 {} in input": lambda: b'{"input":[' + b",".join([b"{}"] * 3_000_000) + b"]}",
    "80,000 x 60 nested []": lambda: UNFINISHED + (b"[" * 60 + b"]" * 60 + b",") * 80_000,
    "10 MB of quotes": lambda: b'{"input":' + b'"' * 10 * MEGABYTE,
    "10 MB of digits": lambda: b'{"input":"?","seed":' + b"7" * 10 * MEGABYTE,
    "24,000 numbers of 64 digits": lambda: UNFINISHED + (b"7" * 64 + b",") * 24_000 + b"1]}}",
    "10 MB of spaces": lambda: b'{"input":' + b" " * 10 * MEGABYTE + b'"?"}',
    "12,000 {} in input": lambda: _json(input=[{}] * 12_000),
    "12,000 unknown fields": lambda: _json(**{f"k{n}": 1 for n in range(12_000)}),
    "24,000 numbers": lambda: _values(*[1.5] * 24_000),
    "12,000 keys": lambda: _values({f"k{n}": 1 for n in range(12_000)}),
    "24,000 strings of 200 bytes": lambda: _values(*["é\n" * 50] * 24_000),
    "1,000 messages of 10 kB": lambda: _json(messages=[{"role": "user", "content": "x" * 9_900}] * 1000),
    "an image of 10 MB": lambda: _json(input=[{"type": "image", "url": "data:image/png;base64," + "A" * 9_900_000}]),
}
BODIES |= {f"10 MB of text, {kind}": partial(_text, piece) for kind, piece in TEXTS.items()}
ATTACKS |= {name: partial(_send, body) for name, body in BODIES.items()}


@attack("10 MB of text with an idempotency key")
async def with_key(service: Attacked) -> None:
    """Send a body whose fingerprint has to be computed, too."""
    await service.post(EXECUTE, _text(TEXTS["mixed"]), **{"idempotency-key": os.urandom(8).hex()})


@attack("a history of 3 x 10 MB")
async def history(service: Attacked) -> None:
    """Make a history that is stored, read again, cut and shown."""
    session = os.urandom(8).hex()
    for _ in range(3):
        await service.ask(input=TEXTS["mixed"] * 200_000, session_id=session)
    await service.ask(input="?", session_id=session)
    await service.client.get(f"/api/agent/sessions/{session}/messages")


@attack("a history of 2,000 turns")
async def turns(service: Attacked) -> None:
    """Send a history with the request, near the limits."""
    messages = [{"role": role, "content": "word " * 50} for _ in range(500) for role in ("user", "assistant")]
    for _ in range(5):
        await service.ask(input="?", messages=messages)


# Histories


async def _stored(service: Attacked, turns: int, answer: str) -> None:
    """Store turns in the database. Then start a run after them, read pages of them, list sessions, and delete them."""
    session = os.urandom(8).hex()
    _store(service.database, session, turns, answer)
    path = f"/api/agent/sessions/{session}"
    await service.ask(input="?", session_id=session)
    for query in ({}, {"tree": "true"}):
        page = (await service.client.get(f"{path}/messages", params=query)).json()
        await service.client.get(f"{path}/messages", params=query | {"cursor": page["next_cursor"]})
    await service.client.get("/api/agent/sessions")
    response = await service.client.delete(path)
    if response.status_code != 204:
        print(response.status_code, response.text[:200], file=sys.stderr)


def _store(database: Path, session: str, turns: int, answer: str) -> None:
    """Write a session with this number of turns, without the runs' events."""
    noon = "2026-11-27T12:00:00.000Z"
    ids = [f"run_{number:032x}" for number in range(turns)]
    runs = zip(ids, [None, *ids], strict=False)
    said = [(run, n, ("user", "assistant")[n], json.dumps(("?", answer)[n])) for run in ids for n in (0, 1)]
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO sessions VALUES ('anonymous',?,NULL,NULL,?,?,?)", (session, ids[-1], noon, noon)
        )
        connection.executemany(
            "INSERT INTO runs "
            "(run_id, owner, session_id, parent_run_id, status, model, created_at, last_seq, on_disconnect) "
            f"VALUES (?,'anonymous','{session}',?,'succeeded','m','{noon}',9,'cancel')",
            runs,
        )
        connection.executemany("INSERT INTO messages (run_id, position, role, content) VALUES (?,?,?,?)", said)


STORED: dict[str, tuple[int, str]] = {
    "a stored history of 5,000 turns": (5000, "word " * 100),
    "a stored history of 50,000 short messages": (25_000, "Yes."),
    "a stored history of 300 answers of 100 kB": (300, "word " * 20_000),
}
ATTACKS |= {name: partial(_stored, turns=turns, answer=answer) for name, (turns, answer) in STORED.items()}


# Tools


@attack("tool results: 4 MB of text, a list, a deep list")
async def results(service: Attacked) -> None:
    """Call a Python tool with large results."""
    for kind in ("text", "list", "deep"):
        await service.ask(input=f'large {{"kind": "{kind}"}}', model="simulated/tools", tools=["large"])


@attack("10 MB as a client tool's result")
async def client_result(service: Attacked) -> None:
    """Send it as text, and as many values."""
    tool = {"name": "locate", "parameters": {"type": "object"}}
    for content in ("é\n" * 2_400_000, [1.5] * 24_000):
        run = (await service.ask(input="locate {}", model="simulated/tools", client_tools=[tool])).json()
        call = run["pending"][0]["tool_call_id"]
        path = f"/api/agent/runs/{run['run_id']}/tool-results"
        results = {"results": [{"tool_call_id": call, "content": content}]}
        response = await service.post(path, json.dumps(results, ensure_ascii=False).encode())
        if response.status_code != 202:
            print(response.text, file=sys.stderr)
        await service.client.get(f"/api/agent/runs/{run['run_id']}/events")


@attack("15 MB from an MCP server")
async def mcp_answer(service: Attacked) -> None:
    """Call an MCP tool that returns one large text, and one that returns many parts."""
    for kind in ("text", "parts"):
        await service.ask(input=f'large__large {{"kind": "{kind}"}}', model="simulated/tools", mcp_servers=["large"])


@attack("10,000 calls in one turn")
async def calls(service: Attacked) -> None:
    """Let the model make many calls."""
    await service.ask(input="current_time {}\n" * 10_000, model="simulated/tools", tools=["current_time"])


# Connections


@attack("a head of 64 MB")
async def head(service: Attacked) -> None:
    """Send a head with one very long field."""
    await service.said(b"GET /health HTTP/1.1\r\nHost: localhost\r\na: ", *[b"x" * 65536] * 1000)


@attack("1 MB in pieces of one byte")
async def dripped(service: Attacked) -> None:
    """Send a body in chunks of one byte."""
    head = b"POST /api/agent/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    await service.said(head + b"Transfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n" * 1000] * 1000)


@attack("1,010 silent connections")
async def silent(service: Attacked) -> None:
    """Open connections, and keep them silent for a second."""
    opened = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(1010)]
    await asyncio.sleep(1)
    for _, writer in opened:
        writer.close()


@attack("60 unfinished bodies of 9 MB")
async def unfinished(service: Attacked) -> None:
    """Send bodies at the same time, and never end them."""
    head = b"POST /api/agent/execute HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    body = b'{"input":"' + b"x" * 9 * MEGABYTE
    await asyncio.gather(*(service.said(head + b"Content-Length: 9500000\r\n\r\n", body) for _ in range(60)))


@attack("200 streams")
async def streams(service: Attacked) -> None:
    """Read streams of a model that writes a word every 20 ms."""

    async def stream(number: int) -> None:
        await asyncio.sleep(number / 200)  # within a second
        async with service.client.stream("POST", STREAM, json={"input": "slowly"}) as response:
            async for _ in response.aiter_raw():
                pass

    await asyncio.gather(*(stream(number) for number in range(200)))
