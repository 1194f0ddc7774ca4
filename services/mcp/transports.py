"""Connects to MCP servers with the SDK's transports: streamable HTTP, SSE, and the pipes of a command (stdio)."""

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
from setting_objects import McpServer

logger = logging.getLogger(__name__)

MAX_INFO_LINES = 50  # of a command's standard error that are logged as INFO; more are logged as DEBUG
LINE_CHARACTERS = 500
PIPE_BYTES = 64 * 1024
LEAVE_GROUP_S = 0.5  # for a process that the command started, as by `setsid`, to leave the process group
LAUNCHER = """
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
"""A program that executes a command, so that it ends with this process even if that is killed (PR_SET_PDEATHSIG).

The command inherits its pipes only. The first line of the program's standard error is its process id.
"""
ADDED_VARIABLE = "LC_CTYPE"  # Python adds it to its environment if there is no locale; the launcher removes it


@asynccontextmanager
async def transport(label: str, server: McpServer, guard: UrlGuard | None) -> AsyncIterator[Streams]:
    """Connect to a server. `guard` is None for an operator's server. Enter and exit in the same task."""
    if server.command is not None:
        async with _command(label, server) as streams:
            yield streams
        return
    headers = {name: value.get_secret_value() for name, value in server.headers.items()}
    if server.transport == "sse":

        def new_client(*_: Any, **__: Any) -> SseHttp:
            return SseHttp(guard, headers)

        async with sse_client(str(server.url), httpx_client_factory=new_client) as streams:
            yield streams
        return
    client = McpHttp(guard, headers)
    # Without the SDK's limit on events: the client has its own, and an event that exceeds it fails its request only.
    opening = streamable_http_client(str(server.url), http_client=client, max_sse_event_size=None)
    async with client, opening as streams:
        yield streams


@asynccontextmanager
async def _command(label: str, server: McpServer) -> AsyncIterator[Streams]:
    """Run a server that is a command. Its process ends with the transport."""
    words = [server.command or "", *server.args]
    is_bound = sys.platform == "linux"
    if is_bound:
        added = "" if ADDED_VARIABLE in server.env else ADDED_VARIABLE
        words = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), added, *words]
    parameters = StdioServerParameters(
        command=words[0],
        args=words[1:],
        env={name: value.get_secret_value() for name, value in server.env.items()},
        encoding=mcp_lines.ENCODING,
    )
    mcp_lines.register()
    mcp_lines.command.set(label)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as output, os.fdopen(writing, "w") as errors:
        watching = asyncio.create_task(_watch(label, output, is_bound=is_bound), name=f"standard error of {label}")
        try:
            async with stdio_client(parameters, errors) as streams:
                errors.close()  # the process has its own copy; this one would keep the pipe open
                yield streams
        finally:
            watching.cancel()
            await asyncio.wait({watching})


async def _watch(label: str, output: Any, *, is_bound: bool) -> None:
    """Log a command's standard error. If its first line is a process id, clean up after that process."""
    lines = asyncio.StreamReader(limit=PIPE_BYTES)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), output)
    try:
        async with asyncio.TaskGroup() as tasks:
            if is_bound and (process := await lines.readline()).strip().isdigit():
                tasks.create_task(_clean_up_after(int(process)))
            tasks.create_task(_log(label, lines))
    finally:
        pipe.close()


async def _log(label: str, lines: asyncio.StreamReader) -> None:
    """Log lines, each up to LINE_CHARACTERS."""
    logged, unfinished = 0, b""
    while data := await lines.read(PIPE_BYTES):
        *whole, unfinished = (unfinished + data).split(b"\n")
        for line in whole:
            text = line[:LINE_CHARACTERS].decode("utf-8", "replace").strip()
            logger.log(logging.INFO if logged < MAX_INFO_LINES else logging.DEBUG, "%s: %s", label, text)
            logged += 1
        unfinished = unfinished[:LINE_CHARACTERS]


async def _clean_up_after(process: int) -> None:
    """Wait until a command ends, and kill the processes that it leaves behind in its process group.

    One that has inherited the command's standard output keeps the pipe open, so the SDK would not notice the end.
    """
    with suppress(ProcessLookupError):  # it has ended already
        ended, watched = asyncio.Event(), os.pidfd_open(process)
        asyncio.get_running_loop().add_reader(watched, ended.set)
        try:
            await ended.wait()
        finally:
            asyncio.get_running_loop().remove_reader(watched)
            os.close(watched)
    await asyncio.sleep(LEAVE_GROUP_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)
