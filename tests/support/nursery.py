"""Starts programs fast: `python nursery.py DESCRIPTOR` imports the service once, runs it once, and forks nurseries.

The descriptor is a listening socket. Each connection sends three descriptors, and gets a nursery that has them as its
standard streams. A nursery forks itself for each start. It reads one JSON order a line, and answers each with a number:

* `{"start": "app:main", "environment": {…}, "stderr": path}` calls that function in a new process, with these
  variables in addition to its own, and returns the process id. Without `stderr` the process shares the nursery's.
  With `"files": number` it may open this number of files, and with `"inherits": path` it has this file open for
  itself and for its children. With `"new_data": path` it finds the migrated database of an empty service in this
  directory.
* `{"start": …, "environment": {…}, "arguments": […], "directory": path, "streams": [stdin, stdout, stderr]}` starts a
  command-line program: the variables replace the environment, and the streams are paths that are open when the answer
  comes. With `"umask": mask` it has this mask.
* `{"load": module}` imports a module, so that later processes have it, and returns 0.
* `{"wait": pid}` returns the exit status of a process once it has ended.

When its input ends, a nursery kills the processes that it has started. When the input of `python nursery.py` ends, no
more nurseries are forked, and those that were forked stay.
"""

import asyncio
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import uvloop  # noqa: F401 - imported for the forked services, as uvicorn imports it
from service import DATABASE, NOWHERE, SIMULATE, empty_database, service

from services.tooling.registry import ToolRegistry

JOIN_S = 5
MODES = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)


async def warm_up() -> bytes:
    """Run the service once, and return the file of its migrated database.

    Every forked process then has what is imported and built once: modules, certificates, routes. That takes a service
    0.2 s of CPU until its first run has ended. Events are kept in memory, because the file log keeps threads, which
    a forked process lacks.
    """
    tools = ToolRegistry((), timeout_s=JOIN_S, threads=1).all  # imports the tools that a service offers by default
    async with service(NOWHERE, tools, event_log_url="memory://") as agent:
        await agent.stream({"delay_ms": 0}, SIMULATE)
    return await empty_database()


def start(order: dict[str, Any], streams: Sequence[int]) -> None:
    """Run the program that an order names, and exit."""
    if streams:
        become_command(order, streams)
    else:
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        if "stderr" in order:
            os.dup2(os.open(order["stderr"], os.O_WRONLY), 2)
        os.dup2(2, 1)
        if most := order.get("files"):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 1024), most))  # a shell's soft limit is 1024
        if path := order.get("inherits"):
            os.set_inheritable(os.open(path, os.O_RDONLY), True)
    os.environ.update(order["environment"])
    sys.path[:0] = filter(None, order["environment"].get("PYTHONPATH", "").split(":"))
    module, _, function = order["start"].partition(":")
    program = getattr(import_module(module), function)
    if streams:
        exit_at_once(program)
    else:
        program()
        sys.exit()


def make_data(directory: Path, database: bytes) -> None:
    """Make a data directory, as the service makes it, with an empty database: migrating one takes 40 ms of CPU."""
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / DATABASE).touch(mode=0o600)
    (directory / DATABASE).write_bytes(database)


def replace_streams(streams: Sequence[int]) -> None:
    """Make these descriptors the process's standard input, output and error."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)


def become_command(order: dict[str, Any], streams: Sequence[int]) -> None:
    """Replace the process's environment, arguments and standard streams, as `python -X utf8` sets them."""
    replace_streams(streams)
    os.environ.clear()
    os.chdir(order["directory"])
    if (mask := order.get("umask")) is not None:
        os.umask(mask)
    sys.argv = [f"{order['start'].partition(':')[0]}.py", *order["arguments"]]
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115


def exit_at_once(program: Callable[[], int]) -> None:
    """Exit with what a program returns, without the 0.1 s of CPU that taking down the service's modules costs."""
    try:
        status = program()
    except SystemExit as exiting:
        if not isinstance(exiting.code, int):
            raise
        status = exiting.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Fork a nursery for each connection, until standard input ends."""
    database = asyncio.run(warm_up())
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        thread.join(JOIN_S)  # those of the database end a moment after it is closed
    assert threading.active_count() == 1, "a forked process has none of the threads"
    gc.freeze()  # so that a collection in a forked process copies none of this memory
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            streams = accepted(listening)
            if os.fork() == 0:
                listening.close()
                replace_streams(streams)
                obey(database)
                return
            for stream in streams:
                os.close(stream)


def accepted(listening: socket.socket) -> list[int]:
    """Accept a connection, and return the descriptors that it sends."""
    connection, _ = listening.accept()
    with connection:
        return socket.recv_fds(connection, 1, len(MODES))[1]


def obey(database: bytes) -> None:
    """Execute the orders from standard input. `database` is the file of an empty database."""
    children: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "new_data" in order:
            make_data(Path(order["new_data"]), database)
        streams = [os.open(path, mode) for path, mode in zip(order.get("streams", ()), MODES, strict=False)]
        if "load" in order:
            import_module(order["load"])
            answer = 0
        elif "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
            children.remove(order["wait"])
        elif (answer := os.fork()) == 0:
            start(order, streams)
        else:
            children.add(answer)
        for stream in streams:
            os.close(stream)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
