"""Starts programs fast: `python nursery.py` imports the service once and forks itself for each start.

It reads one JSON order a line, and answers each with a number:

* `{"start": "app:main", "environment": {…}, "stderr": path}` calls that function in a new process, with these
  variables in addition to its own, and returns the process id. Without `stderr` the process shares the nursery's.
  With `"files": number` it may open this number of files.
* `{"start": …, "environment": {…}, "arguments": […], "directory": path, "streams": [stdin, stdout, stderr]}` starts a
  command-line program: the variables replace the environment, and the streams are paths that are open when the answer
  comes.
* `{"load": module}` imports a module, so that later processes have it, and returns 0.
* `{"wait": pid}` returns the exit status of a process once it has ended.

When its input ends, the nursery kills the processes that it has started.
"""

import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import app  # noqa: F401 - every process that is forked has what is imported here

MODES = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)


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
    os.environ.update(order["environment"])
    sys.path[:0] = filter(None, order["environment"].get("PYTHONPATH", "").split(":"))
    module, _, function = order["start"].partition(":")
    program = getattr(import_module(module), function)
    if streams:
        exit_at_once(program)
    else:
        program()
        sys.exit()


def become_command(order: dict[str, Any], streams: Sequence[int]) -> None:
    """Replace the process's environment, arguments and standard streams, as `python -X utf8` sets them."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.chdir(order["directory"])
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
    """Execute the orders from standard input."""
    gc.freeze()  # so that a collection in a forked process copies none of this memory
    children: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
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
