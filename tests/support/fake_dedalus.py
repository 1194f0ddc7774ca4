"""A fake Dedalus on a real loopback socket. It writes HTTP/1.1 itself, so that it can fail in every way a server can.

    async with FakeDedalus() as fake:
        fake.turn(Text("Hel", "lo"), Finish("stop"), Done())
        client = AsyncDedalus(api_key="k", base_url=fake.url)
        ...
        assert fake.requests[0].body["model"] == "openai/gpt-4.1"

The steps are in `wire`. `FakeDedalus.in_thread()` runs the same server on an event loop of its own, for tests without
one. Scripts may be set and everything may be read from any thread.
"""

import asyncio
import json
import random
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, repeat
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import start_blocking_portal
from wire import (
    BodyStep,
    Cut,
    EndBody,
    Envelope,
    Head,
    Json,
    Pause,
    Signal,
    Stall,
    Status,
    Step,
    WaitFor,
    check_order,
    fault_in_tool_messages,
    model,
    refusal,
    repository,
)

CHAT = "/chat/completions"
LOOP_TURNS = 4  # between two pieces of a split body, so that a client on the same loop reads each by itself
Split = int | Sequence[int] | random.Random | None


@dataclass(frozen=True)
class Request:
    """A request as it arrived. `body` is the parsed `raw` JSON, the text if it isn't JSON, or None without a body."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    connection: int
    received_at: float
    raw: bytes = b""

    def to(self, path: str) -> bool:
        """Whether this request's path, without its query, ends with `path`."""
        return self.path.partition("?")[0].endswith(path)


@dataclass
class Connection:
    """A client's connection, numbered by its place in `FakeDedalus.connections`. Times are `time.monotonic()`."""

    number: int
    opened_at: float
    closed_at: float | None = None
    requests: int = 0


@dataclass(frozen=True)
class Turn:
    """A script for one request: the steps, and how the body's bytes are cut into writes."""

    steps: Sequence[Step]
    split: Split = None


class FakeDedalus:
    """The fake upstream. It answers chat completions by script, and serves the lists of models and of MCP servers.

    With `require_key` it refuses any other bearer token. `models_failure` and `marketplace_failure` replace the lists.
    """

    def __init__(self, *, require_key: str | None = None) -> None:
        self.url = ""
        self.require_key = require_key
        self.requests: list[Request] = []
        self.connections: list[Connection] = []
        self.models: list[Json] = [model("openai/gpt-4.1", "GPT-4.1"), model("anthropic/claude-sonnet-4-5", "Claude")]
        self.models_failure: Status | None = None
        self.marketplace: list[Json] = [repository("tsion/exa", 3), repository("joerup/open-meteo-mcp", 2)]
        self.marketplace_failure: Status | None = None
        self._turns: deque[Turn] = deque()
        self._always: Turn | None = None
        self._choice: Callable[[Json], Sequence[Step] | None] | None = None
        self._changed = Signal()
        self._serving: set[asyncio.Task[None]] = set()
        self._faults: list[BaseException] = []

    # What the test scripts

    def turn(self, *steps: Step, split: Split = None) -> None:
        """Add the answer to the next chat completion that has none yet.

        `split` cuts the body into writes of n bytes, at the given offsets, or into writes of a random size.
        """
        check_order(steps)
        self._turns.append(Turn(steps, split))

    def always(self, *steps: Step, split: Split = None) -> None:
        """Set the answer to every chat completion for which no turn is left."""
        check_order(steps)
        self._always = Turn(steps, split)

    def choose(self, script: Callable[[Json], Sequence[Step] | None]) -> None:
        """Call `script` first, with the request's body. If it returns None, the turns answer."""
        self._choice = script

    def forget(self) -> None:
        """Drop the scripts of chat completions, and the requests that came."""
        self._turns.clear()
        self._always = self._choice = None
        self.requests.clear()

    # What the test sees

    @property
    def chats(self) -> list[Request]:
        """The chat completions among the requests."""
        return self.requests_to(CHAT)

    def requests_to(self, path: str) -> list[Request]:
        """Return the requests whose path ends with `path`."""
        return [request for request in self.requests if request.to(path)]

    async def wait_for_requests(self, n: int, path: str = CHAT, timeout: float = 5.0) -> list[Request]:
        """Wait until `n` requests to `path` have arrived, chat completions by default, and return them."""
        await self._changed.wait(lambda: len(self.requests_to(path)) >= n, timeout, lambda: self._too_few(n, path))
        return self.requests_to(path)

    def wait_for_requests_sync(self, n: int, path: str = CHAT, timeout: float = 5.0) -> list[Request]:
        """The same for a thread without an event loop."""
        self._changed.wait_sync(lambda: len(self.requests_to(path)) >= n, timeout, lambda: self._too_few(n, path))
        return self.requests_to(path)

    async def wait_closed(self, number: int, timeout: float = 5.0) -> Connection:
        """Wait until the connection with that number is closed, by either side, and return it."""
        await self._changed.wait(lambda: self._closed(number), timeout, lambda: self._still_open(number))
        return self.connections[number]

    def wait_closed_sync(self, number: int, timeout: float = 5.0) -> Connection:
        """The same for a thread without an event loop."""
        self._changed.wait_sync(lambda: self._closed(number), timeout, lambda: self._still_open(number))
        return self.connections[number]

    def _too_few(self, n: int, path: str) -> str:
        seen = [f"{request.method} {request.path}" for request in self.requests]
        return f"{len(self.requests_to(path))} of {n} requests to {path}; all requests: {seen}"

    def _closed(self, number: int) -> bool:
        return number < len(self.connections) and self.connections[number].closed_at is not None

    def _still_open(self, number: int) -> str:
        return f"connection {number} isn't closed; connections: {self.connections}"

    # Starting and stopping

    @staticmethod
    @contextmanager
    def in_thread(*, require_key: str | None = None) -> Iterator["FakeDedalus"]:
        """Run the fake on an event loop in a thread of its own."""
        fake = FakeDedalus(require_key=require_key)
        with start_blocking_portal() as portal, portal.wrap_async_context_manager(fake):
            yield fake

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything. An error in the fake itself, or in a test's script, fails the test here."""
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise the errors that there were in the fake itself, or in a test's script."""
        if self._faults:
            raise BaseExceptionGroup("the fake upstream failed", self._faults)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._served)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, request after request."""
        connection = Connection(len(self.connections), time.monotonic())
        self.connections.append(connection)
        writer.transport.set_write_buffer_limits(high=0)  # drain() returns when the kernel has all bytes
        try:
            while (request := await read_request(reader, connection)) is not None:
                connection.requests += 1
                self.requests.append(request)
                self._changed.notify()
                if not await while_connected(reader, self._answer(request, Reply(writer, len(self.requests)))):
                    break
        except ConnectionError:
            pass  # the client has closed the connection, which closed_at records
        finally:
            writer.transport.abort()
            connection.closed_at = time.monotonic()
            self._changed.notify()

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            self._faults.append(fault)

    # The answers

    async def _answer(self, request: Request, reply: "Reply") -> bool:
        """Answer a request. Return whether the connection can be used again."""
        plain = self._plain(request)
        if plain is not None:
            await reply.whole(plain)
            usable = True
        else:
            turn = self._next_turn(request.body)
            reply.split(turn.split)
            usable = await play(turn, reply, Envelope(f"chatcmpl-{reply.number}", str(request.body.get("model"))))
        return usable and request.headers.get("connection", "").lower() != "close"

    def _plain(self, request: Request) -> Status | None:
        """Return the response to anything but a good chat completion, or None for one."""
        if request.to("/api/marketplace"):
            return self.marketplace_failure or Status(200, {"repositories": self.marketplace})
        if self.require_key is not None and request.headers.get("authorization") != f"Bearer {self.require_key}":
            return refusal(401, "Invalid API key provided", "authentication_error", error_code="invalid_api_key")
        if request.method == "GET" and request.to("/models"):
            return self.models_failure or Status(200, {"object": "list", "data": self.models})
        if request.method != "POST" or not request.to(CHAT):
            return Status(404, {"detail": "Not Found"})
        if not isinstance(request.body, dict):
            return refusal(400, "We could not parse the JSON body of your request.", "invalid_request_error")
        return fault_in_tool_messages(request.body.get("messages", []))

    def _next_turn(self, body: Json) -> Turn:
        chosen = None if self._choice is None else self._choice(body)
        if chosen is not None:
            check_order(chosen)
            return Turn(chosen)
        if self._turns:
            return self._turns.popleft()
        if self._always is not None:
            return self._always
        what = f"the fake has no scripted turn left for chat completion {len(self.chats)}"
        return Turn([refusal(500, what, "server_error")])


async def play(turn: Turn, reply: "Reply", envelope: Envelope) -> bool:
    """Send a turn. Return whether the connection can be used again."""
    for step in turn.steps:
        if not isinstance(step, BodyStep):
            await reply.flush()
        match step:
            case BodyStep():
                for data in step.frames(envelope):
                    await reply.send(data)
            case Head():
                await reply.begin(step.headers)
            case Pause():
                await asyncio.sleep(step.seconds)
            case WaitFor():
                await step.gate.pass_through()
            case Status():
                await reply.whole(step)
                return True
            case Cut():
                if step.reset:
                    reply.reset()
                return False
            case Stall():
                await asyncio.Event().wait()
            case EndBody():
                break
    await reply.end()
    return True


# HTTP/1.1


async def read_request(reader: asyncio.StreamReader, connection: Connection) -> Request | None:
    """Return the next request of a connection, or None if the client has closed it."""
    try:
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        if "transfer-encoding" in headers:
            raise ValueError("the fake reads only bodies with a Content-Length")
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
    except asyncio.IncompleteReadError:
        return None
    method, path, _ = start.split(" ")
    return Request(method, path, headers, parsed(raw), connection.number, time.monotonic(), raw)


def parsed(raw: bytes) -> Any:
    """Return the parsed JSON, the text if it isn't JSON, or None for an empty body."""
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")


async def while_connected(reader: asyncio.StreamReader, work: Coroutine[Any, Any, bool]) -> bool:
    """Do `work` and return its result. Cancel it and return False as soon as the client closes the connection."""
    working = asyncio.ensure_future(work)
    # Ends only with the connection. Cancelled, it leaves the next request's bytes, if any arrived, in the reader.
    leaving = asyncio.ensure_future(reader.readexactly(sys.maxsize))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return working.done() and working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


class Pieces:
    """Cuts bytes into pieces. Bytes that don't fill a piece are held until more follow, or until `rest`."""

    def __init__(self, split: Split) -> None:
        self._sizes = sizes(split)
        self._size = next(self._sizes)
        self._held = bytearray()

    def cut(self, data: bytes) -> Iterator[bytes]:
        self._held += data
        while len(self._held) >= self._size:
            piece = bytes(self._held[: self._size])
            del self._held[: self._size]
            self._size = next(self._sizes)
            yield piece

    def rest(self) -> bytes:
        rest = bytes(self._held)
        self._held.clear()
        self._size -= len(rest)
        return rest


def sizes(split: Split) -> Iterator[int]:
    """Return the sizes of the pieces."""
    match split:
        case None:
            yield from repeat(sys.maxsize)
        case int():
            yield from repeat(split)
        case random.Random():
            while True:
                yield split.randint(1, 40)
        case _:
            yield from (end - start for start, end in pairwise(sorted({0, *split})))
            yield from repeat(sys.maxsize)


class Reply:
    """One response. The head of a stream is sent with the first byte of its body, or by `begin`."""

    def __init__(self, writer: asyncio.StreamWriter, number: int) -> None:
        self.number = number
        self._writer = writer
        self._begun = False
        self._whole_frames = True
        self._pieces = Pieces(None)

    def split(self, split: Split) -> None:
        """Cut the body in this way from now on. Without a split each frame is one write."""
        self._whole_frames = split is None
        self._pieces = Pieces(split)

    async def begin(self, headers: Mapping[str, str] | None = None) -> None:
        """Send the head of a stream, once."""
        if not self._begun:
            self._begun = True
            stream = {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"}
            await self._write(self._head(200, {**stream, **(headers or {})}))

    async def send(self, data: bytes) -> None:
        """Send a part of the body."""
        await self.begin()
        for piece in self._pieces.cut(data):
            await self._chunk(piece)
            for _ in range(LOOP_TURNS):
                await asyncio.sleep(0)
        if self._whole_frames:
            await self.flush()

    async def flush(self) -> None:
        """Send the bytes held back to fill a piece."""
        if rest := self._pieces.rest():
            await self._chunk(rest)

    async def end(self) -> None:
        """End the body cleanly."""
        await self.begin()
        await self.flush()
        await self._write(b"0\r\n\r\n")

    async def whole(self, status: Status) -> None:
        """Send a whole response."""
        kind, body = status.content()
        headers = {"content-type": kind, "content-length": str(len(body)), **status.headers}
        await self._write(self._head(status.code, headers) + body)

    def reset(self) -> None:
        """End the connection with RST in place of FIN."""
        no_linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)

    def _head(self, code: int, headers: Mapping[str, str]) -> bytes:
        everything = {"x-request-id": f"req_{self.number}", **headers}
        lines = [f"HTTP/1.1 {code} Scripted", *(f"{name}: {value}" for name, value in everything.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def _chunk(self, piece: bytes) -> None:
        await self._write(b"%x\r\n%b\r\n" % (len(piece), piece))

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
