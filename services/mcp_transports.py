"""The ways to an MCP server, as transports of its SDK: streamable HTTP, SSE, and the pipes of a command (stdio)."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self

from mcp import MCPError
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from pydantic import ValidationError

from errors import AgentStreamError
from services.mcp_http import McpHttp
from services.url_guard import UrlGuard
from settings import McpServer

logger = logging.getLogger(__name__)

LOUD_LINES = 50  # of what a command writes to its standard error; the rest is for who looks closely
LINE_CHARACTERS = 500
PIPE_BYTES = 64 * 1024
BOUND_TO_US = """
import ctypes, os, sys
parent, added, *command = sys.argv[1:]
os.environ.pop(added, None)
os.closerange(3, os.sysconf("SC_OPEN_MAX"))
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() == int(parent):
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")
"""
"""What becomes a command that ends with its parent, also where that is killed, and inherits its pipes alone."""
ADDED = "LC_CTYPE"  # by Python, to its own environment, where there is no locale

Streams = tuple[Any, Any]
"""Where messages are read and where they are written."""


def told(error: BaseException) -> str:
    """An error for the log: what began it, in words only where they hold no URL, whose query or user may be secret."""
    match error:
        case BaseExceptionGroup(exceptions=[first, *_]):
            return told(first)
        case MCPError() | AgentStreamError() | OSError() | RuntimeError() | ValidationError():
            return repr(error)
        case _ if hasattr(error, "response"):
            return f"HTTP status {error.response.status_code}"
        case Exception(__cause__=BaseException() as cause) | Exception(args=[BaseException() as cause]):
            return told(cause)
        case _:
            return type(error).__name__


def _without_urls(record: logging.LogRecord) -> bool:
    """A record of the SDK's without what it says after a colon, which may be a URL, and with its exception as told."""
    record.msg, record.args = record.getMessage().partition(": ")[0], ()
    if record.exc_info and record.exc_info[1]:
        record.msg, record.exc_info = f"{record.msg}: {told(record.exc_info[1])}", None
    return True


logging.getLogger("mcp.client.sse").addFilter(_without_urls)


@asynccontextmanager
async def transport(label: str, server: McpServer, guard: UrlGuard | None) -> AsyncIterator[Streams]:
    """Connect to a server, under guard where the operator didn't name it. Enter and exit in one task."""
    if server.command is not None:
        async with _command(label, server) as streams:
            yield streams
        return
    headers = {name: value.get_secret_value() for name, value in server.headers.items()}
    client = McpHttp(guard, headers)
    if server.transport == "sse":

        def made(headers: Any = None, timeout: Any = None, auth: Any = None) -> McpHttp:
            return client

        async with sse_client(str(server.url), httpx_client_factory=made) as streams:
            yield streams
        return
    async with client, streamable_http_client(str(server.url), http_client=client) as streams:
        yield streams


@asynccontextmanager
async def telling_its_end(
    opened: AbstractAsyncContextManager[Streams], ended: Callable[[], None], closing: Callable[[], None]
) -> AsyncIterator[Streams]:
    """A transport that tells when nothing more will come, which the SDK keeps to itself, and when it is closed."""
    async with opened as (messages, outbox):
        try:
            yield _Watched(messages, ended), outbox
        finally:
            closing()


class _Watched:
    """A transport's messages, which tell their end."""

    def __init__(self, messages: Any, ended: Callable[[], None]) -> None:
        self._messages = messages
        self._ended = ended

    @property
    def last_context(self) -> Any:
        return getattr(self._messages, "last_context", None)

    async def receive(self) -> Any:
        return await self._messages.receive()

    async def aclose(self) -> None:
        await self._messages.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._messages.__anext__()
        except BaseException:
            self._ended()
            raise

    async def __aenter__(self) -> Self:
        await self._messages.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        ended: bool | None = await self._messages.__aexit__(kind, error, trace)
        return ended


@asynccontextmanager
async def _command(label: str, server: McpServer) -> AsyncIterator[Streams]:
    """A process of our own, which ends with the transport; where we can't end it, its standard input closes."""
    words = [server.command or "", *server.args]
    if sys.platform == "linux":
        added = "" if ADDED in server.env else ADDED
        words = [sys.executable, "-I", "-S", "-c", BOUND_TO_US, str(os.getpid()), added, *words]
    parameters = StdioServerParameters(
        command=words[0],
        args=words[1:],
        env={name: value.get_secret_value() for name, value in server.env.items()},
    )
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as said, os.fdopen(writing, "w") as errors:
        telling = asyncio.create_task(_tell(label, said), name=f"what {label} says")
        try:
            async with stdio_client(parameters, errors) as streams:
                errors.close()  # the process has its own; ours would keep the pipe open
                yield streams
        finally:
            telling.cancel()
            await asyncio.wait({telling})


async def _tell(label: str, said: Any) -> None:
    """Log what a command writes to its standard error, line by line, cut where they are long."""
    lines = asyncio.StreamReader(limit=PIPE_BYTES)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), said)
    try:
        told, rest = 0, b""
        while data := await lines.read(PIPE_BYTES):
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                text = line[:LINE_CHARACTERS].decode("utf-8", "replace")
                shown = "".join(c if c.isprintable() else " " for c in text).strip()
                logger.log(logging.INFO if told < LOUD_LINES else logging.DEBUG, "%s: %s", label, shown)
                told += 1
            rest = rest[:LINE_CHARACTERS]
    finally:
        pipe.close()
