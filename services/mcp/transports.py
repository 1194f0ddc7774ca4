"""The ways to an MCP server, as transports of its SDK: streamable HTTP, SSE, and the pipes of a command (stdio)."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from services.mcp import lines as mcp_lines
from services.mcp.http import McpHttp, SseHttp
from services.mcp.messages import Streams
from services.outbound.url_guard import UrlGuard
from settings import McpServer

logger = logging.getLogger(__name__)

LOUD_LINES = 50  # of what a command writes to its standard error; the rest is for who looks closely
LINE_CHARACTERS = 500
PIPE_BYTES = 64 * 1024
LEFT_S = 0.5  # for what a command such as `setsid` has started to leave its process group
BOUND_TO_US = """
import ctypes, os, sys
parent, added, *command = sys.argv[1:]
os.environ.pop(added, None)
os.closerange(3, os.sysconf("SC_OPEN_MAX"))
os.write(2, b"%d\\n" % os.getpid())
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
if os.getppid() == int(parent):
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")
"""
"""What becomes a command that ends with its parent, also where that is killed, and inherits its pipes alone.

The first line of its standard error is its process id.
"""
ADDED = "LC_CTYPE"  # by Python, to its own environment, where there is no locale


@asynccontextmanager
async def transport(label: str, server: McpServer, guard: UrlGuard | None) -> AsyncIterator[Streams]:
    """Connect to a server, under guard where the operator didn't name it. Enter and exit in one task."""
    if server.command is not None:
        async with _command(label, server) as streams:
            yield streams
        return
    given = {name: value.get_secret_value() for name, value in server.headers.items()}
    if server.transport == "sse":

        def made(headers: Any = None, timeout: Any = None, auth: Any = None) -> SseHttp:
            return SseHttp(guard, given)

        async with sse_client(str(server.url), httpx_client_factory=made) as streams:
            yield streams
        return
    client = McpHttp(guard, given)
    opened = streamable_http_client(str(server.url), http_client=client, max_sse_event_size=None)  # it bounds events
    async with client, opened as streams:
        yield streams


@asynccontextmanager
async def _command(label: str, server: McpServer) -> AsyncIterator[Streams]:
    """A process of our own, which ends with the transport; where we can't end it, its standard input closes."""
    words = [server.command or "", *server.args]
    is_bound = sys.platform == "linux"
    if is_bound:
        added = "" if ADDED in server.env else ADDED
        words = [sys.executable, "-I", "-S", "-c", BOUND_TO_US, str(os.getpid()), added, *words]
    parameters = StdioServerParameters(
        command=words[0],
        args=words[1:],
        env={name: value.get_secret_value() for name, value in server.env.items()},
        encoding=mcp_lines.ENCODING,
    )
    mcp_lines.register()
    mcp_lines.command.set(label)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as said, os.fdopen(writing, "w") as errors:
        telling = asyncio.create_task(_tell(label, said, is_bound=is_bound), name=f"what {label} says")
        try:
            async with stdio_client(parameters, errors) as streams:
                errors.close()  # the process has its own; ours would keep the pipe open
                yield streams
        finally:
            telling.cancel()
            await asyncio.wait({telling})


async def _tell(label: str, said: Any, *, is_bound: bool) -> None:
    """Log what a command writes to its standard error, line by line, cut where they are long."""
    lines = asyncio.StreamReader(limit=PIPE_BYTES)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), said)
    try:
        async with asyncio.TaskGroup() as tasks:
            if is_bound and (process := await lines.readline()).strip().isdigit():
                tasks.create_task(_end_with(int(process)))
            tasks.create_task(_log(label, lines))
    finally:
        pipe.close()


async def _log(label: str, lines: asyncio.StreamReader) -> None:
    told, rest = 0, b""
    while data := await lines.read(PIPE_BYTES):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            text = line[:LINE_CHARACTERS].decode("utf-8", "replace").strip()
            logger.log(logging.INFO if told < LOUD_LINES else logging.DEBUG, "%s: %s", label, text)
            told += 1
        rest = rest[:LINE_CHARACTERS]


async def _end_with(process: int) -> None:
    """Kill what a command leaves behind in its process group when it ends.

    A process that has inherited its standard output keeps that open, so that nobody would see that the command ended.
    """
    with suppress(ProcessLookupError):  # it has ended
        ended, watched = asyncio.Event(), os.pidfd_open(process)
        asyncio.get_running_loop().add_reader(watched, ended.set)
        try:
            await ended.wait()
        finally:
            asyncio.get_running_loop().remove_reader(watched)
            os.close(watched)
    await asyncio.sleep(LEFT_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
