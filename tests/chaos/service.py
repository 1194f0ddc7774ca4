"""The service that is crashed, with tools of the tests and signals that make it report its memory."""

import asyncio
import ctypes
import gc
import os
import signal
import sys
import tracemalloc
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from local_tools import FixedTools, LocalTool, named
from wire import Json

import app
from services.tooling.base import Tool


async def lookup(arguments: Json) -> Json:
    """Takes a moment."""
    await asyncio.sleep(arguments["ms"] / 1000)
    return {"word": arguments["word"], "found": True}


async def stubborn(arguments: Json) -> str:
    """Ignores cancellation for this number of seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + arguments["seconds"]
    while (left := end - loop.time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue
    return "done"


async def mark(arguments: Json) -> str:
    """Writes a mark when it begins, and takes a moment."""
    with (Path(os.environ["DATA_DIR"]) / "marks").open("a") as marks:
        marks.write(f"{arguments['word']}\n")
    await asyncio.sleep(arguments["ms"] / 1000)
    return "marked"


MARK = LocalTool("mark", mark)
MARK.approval = True
TOOLS: Mapping[str, Tool] = named(LocalTool("lookup", lookup), LocalTool("stubborn", stubborn), MARK)


def collect(number: int, _: object) -> None:
    """Free unreachable objects and unused memory, and log it, so that the memory left is needed."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    sys.stderr.write("garbage collected\n")


def trace(number: int, _: object) -> None:
    """Log how many bytes Python's objects have allocated since the first such signal. Kernel buffers don't count."""
    gc.collect()
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    sys.stderr.write(f"traced {tracemalloc.get_traced_memory()[0]} bytes\n")


def main() -> None:
    """Run as `python app.py`, with the tools. SIGUSR1 collects garbage, and SIGUSR2 traces memory."""
    signal.signal(signal.SIGUSR1, collect)
    signal.signal(signal.SIGUSR2, trace)
    os.environ.setdefault("TOOLS_BY_DEFAULT", "all")
    app.create_app = partial(app.create_app, tools=FixedTools(TOOLS))
    app.main()
