"""server-everything, the reference MCP server of an npm package, over each transport."""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from environments import node, script
from process import free_port

PROGRAM = "@modelcontextprotocol/server-everything/dist/index.js"
LISTENS = re.compile(r"on port (\d+)")
STARTS_S = 20


def everything() -> dict[str, Any]:
    """server-everything as a command."""
    return {"command": str(node()), "args": [str(script(PROGRAM)), "stdio"]}


class Everything:
    """server-everything on a port of its own, and its output."""

    def __init__(self, transport: Literal["sse", "streamableHttp"], port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/{'sse' if transport == 'sse' else 'mcp'}"
        self.process = subprocess.Popen(
            [node(), script(PROGRAM), transport],
            env=os.environ | {"PORT": str(self.port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._listens = threading.Event()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        assert self._listens.wait(STARTS_S)
        assert self.process.poll() is None

    def kill(self) -> None:
        """Kill it at once."""
        self.process.kill()
        self.process.wait()
        self._reading.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if LISTENS.search(line):
                    self._listens.set()
        self._listens.set()


@contextmanager
def everything_at(transport: Literal["sse", "streamableHttp"], port: int | None = None) -> Iterator[Everything]:
    """server-everything over HTTP."""
    server = Everything(transport, port)
    try:
        yield server
    finally:
        server.kill()
