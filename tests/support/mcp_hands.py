"""Scripted MCP servers, which send byte for byte what a test wants: a command, or an application for HTTP."""

import asyncio
import base64
import json
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from mcp_peers import pool_of, serving

from services.mcp.servers import McpServers

App = Callable[[Any, Any, Any], Awaitable[None]]
Way = Literal["stdio", "json", "events"]
WAYS: tuple[Way, ...] = ("stdio", "json", "events")
EVENTS = b"text/event-stream"

HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "by hand", "version": "1"},
}
UNKNOWN = b'{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"no such method"}}'

HAND = r"""
import base64, json, sys, zlib

answers = json.loads(zlib.decompress(base64.b64decode(sys.argv[1])))
sys.stdout.reconfigure(encoding="latin-1")
print(answers["before"], end="", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    key = asked["params"]["name"] if asked["method"] == "tools/call" else asked["method"]
    said = answers.get(key, answers[""]).encode("latin-1")
    given = json.dumps(asked.get("params", {}).get("arguments")).encode()
    print(said.replace(b"ID", str(asked["id"]).encode()).replace(b"ARGUMENTS", given).decode("latin-1"), flush=True)
"""


def program(text: str, *arguments: str) -> dict[str, Any]:
    """A command that runs a Python program."""
    return {"command": sys.executable, "args": ["-c", text, *arguments]}


def tool(name: str, **more: Any) -> dict[str, Any]:
    """An entry of a list of tools."""
    return {"name": name, "inputSchema": {"type": "object"}, **more}


def result(of: Any) -> bytes:
    """The message with a result. ID in it is replaced by the request's id."""
    return json.dumps({"jsonrpc": "2.0", "id": "ID", "result": of}).replace('"ID"', "ID").encode()


ECHO = b'{"jsonrpc":"2.0","id":ID,"result":{"structuredContent":ARGUMENTS}}'
"""A result with the call's arguments, from a command."""
FINE = result({"content": [{"type": "text", "text": "fine"}]})


def answers(said: Mapping[str, bytes]) -> dict[str, bytes]:
    """A server's response to each method, and to a call of each tool. By default it greets and lists those tools."""
    tools = [tool(name) for name in said if "/" not in name and name not in ("", "initialize")]
    usual = {"": UNKNOWN, "initialize": result(HELLO), "tools/list": result({"tools": tools})}
    return usual | dict(said)


def command(said: Mapping[str, bytes], before: bytes = b"") -> dict[str, Any]:
    """A command that sends these responses. Its standard output is in Latin-1, so that it can send any bytes."""
    table = {key: value.decode("latin-1") for key, value in answers(said).items()}
    table["before"] = before.decode("latin-1")
    return program(HAND, base64.b64encode(zlib.compress(json.dumps(table).encode())).decode())


CLOCK = command(
    {"now": FINE, "tools/list": result({"tools": [tool("now", inputSchema={"type": "object", "required": ["zone"]})]})}
)
"""A command with the tool `now`, which needs a `zone`. It starts in a fifth of the time that a real one takes."""


class Hand:
    """An application that sends these responses, as JSON or as an event.

    The gate holds the calls of the tool `wait`.
    """

    def __init__(self, said: Mapping[str, bytes], way: Way = "json") -> None:
        self.said = answers(said)
        self.way = way
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.waits = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await lives(receive, send)
        if scope["method"] != "POST":
            return await answering(405, b"")(scope, receive, send)
        message = json.loads(await body(receive))
        key = message["params"]["name"] if message["method"] == "tools/call" else message["method"]
        if "id" not in message:
            return await answering(202, b"")(scope, receive, send)
        self.asked.append(key)
        if self.said.get(key) == b"":
            return await silent(scope, receive, send)
        if key == "wait":
            self.waits.set()
            await self.gate.wait()
        await self.answer(key, self.said.get(key, self.said[""]), message["id"], scope, receive, send)
        return None

    async def answer(self, key: str, said: bytes, asked: int, scope: Any, receive: Any, send: Any) -> None:
        """Send one response."""
        said = said.replace(b"ID", str(asked).encode())
        if self.way == "events":
            await answering(200, b"event: message\r\ndata: " + said + b"\r\n\r\n", EVENTS)(scope, receive, send)
        else:
            await answering(200, said)(scope, receive, send)


async def silent(scope: Any, receive: Any, send: Any) -> None:
    """An application that never answers."""
    if scope["type"] == "lifespan":
        return await lives(receive, send)
    while (await receive())["type"] != "http.disconnect":
        pass
    return None


async def body(receive: Any) -> bytes:
    """Return the whole body of a request."""
    whole = b""
    while (message := await receive())["type"] == "http.request":
        whole += message.get("body", b"")
        if not message.get("more_body"):
            break
    return whole


async def lives(receive: Any, send: Any) -> None:
    """The lifespan of an application that has nothing to open or to close."""
    while (event := (await receive())["type"]) != "lifespan.shutdown":
        await send({"type": f"{event}.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def answering(status: int, body: bytes, kind: bytes = b"application/json", **headers: str) -> App:
    """An application that sends this response to each request."""
    more = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await lives(receive, send)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *more]})
        await send({"type": "http.response.body", "body": body})
        return None

    return app


@asynccontextmanager
async def hand(way: Way, said: Mapping[str, bytes], **limits: float) -> AsyncIterator[McpServers]:
    """A pool with one server, `hand`, that sends these responses over one of the transports."""
    if way == "stdio":
        async with pool_of(**limits, hand=command(said)) as pool:  # type: ignore[arg-type]
            yield pool
        return
    async with serving(Hand(said, way)) as url, pool_of(**limits, hand={"url": f"{url}/mcp"}) as pool:  # type: ignore[arg-type]
        yield pool
