"""Starts the service again and again, fast: `python nursery.py` imports it once and forks it for each start.

It is told what to do a line at a time, in JSON. `{"start": "app:main", "environment": {…}, "stderr": path}` calls that
function in a process with these variables beside its own, and answers with its process id; without `stderr`, it shares
the nursery's. `{"wait": pid}` answers with a process's exit status once it has ended. At the end of its input, the
nursery kills what it has started.
"""

import gc
import json
import os
import signal
import sys
from importlib import import_module
from typing import Any

import app  # noqa: F401 - what is imported here is in every process that is forked


def start(order: dict[str, Any]) -> None:
    """Be the program."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    if "stderr" in order:
        os.dup2(os.open(order["stderr"], os.O_WRONLY), 2)
    os.dup2(2, 1)
    os.environ.update(order["environment"])
    sys.path[:0] = filter(None, order["environment"].get("PYTHONPATH", "").split(":"))
    module, _, function = order["start"].partition(":")
    getattr(import_module(module), function)()


def main() -> None:
    """Do as the lines say."""
    gc.freeze()  # a collection in a forked process copies none of this
    children: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
            children.remove(order["wait"])
        elif (answer := os.fork()) == 0:
            start(order)
            return
        else:
            children.add(answer)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
