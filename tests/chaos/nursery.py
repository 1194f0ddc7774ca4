"""Starts the service again and again, fast: `python -m chaos.nursery` imports it once and forks it for each start.

It is told what to do a line at a time: a JSON object, which is the settings, starts it and answers with its process id;
`wait` answers with its exit status once it has ended. At the end of its input it kills what it has started.
"""

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn

from local_tools import FixedTools, LocalTool, named
from wire import Json

import app
from services.tools import Tool


async def lookup(arguments: Json) -> Json:
    """Takes a moment."""
    await asyncio.sleep(arguments["ms"] / 1000)
    return {"word": arguments["word"], "found": True}


async def stubborn(arguments: Json) -> str:
    """Ignores being cancelled, for so many seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + arguments["seconds"]
    while (left := end - loop.time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue
    return "done"


async def mark(arguments: Json) -> str:
    """Takes a moment, and leaves a mark when it begins."""
    with (Path(os.environ["DATA_DIR"]) / "marks").open("a") as marks:
        marks.write(f"{arguments['word']}\n")
    await asyncio.sleep(arguments["ms"] / 1000)
    return "marked"


MARK = LocalTool("mark", mark)
MARK.approval = True
TOOLS: Mapping[str, Tool] = named(LocalTool("lookup", lookup), LocalTool("stubborn", stubborn), MARK)


def collect(number: int, _: object) -> None:
    """Let go of what only refers to itself, and of what is free, and say so: what is left in memory then is needed."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    sys.stderr.write("garbage collected\n")


def serve(settings: Mapping[str, str]) -> NoReturn:
    """The service as `python app.py` runs it, with the tools. SIGUSR1 makes it collect its garbage."""
    signal.signal(signal.SIGUSR1, collect)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)
    os.environ.update({"TOOLS_BY_DEFAULT": "all", **settings})
    app.create_app = partial(app.create_app, tools=FixedTools(TOOLS))
    try:
        app.main()
    finally:
        os._exit(0)


def main() -> None:
    """Do as the lines say."""
    child = 0
    for line in sys.stdin:
        if line == "wait\n":
            _, answer = os.waitpid(child, 0)
            child = 0
        elif (child := os.fork()) == 0:
            serve(json.loads(line))
        else:
            answer = child
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
    if child:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
