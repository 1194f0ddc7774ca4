"""Runs a snippet that has `await` at its top, as `python -m asyncio` does, in a process that the nursery has forked."""

import ast
import asyncio
import json
import sys


def main() -> int:
    """Run the snippet on standard input, for which `json` has been imported."""
    code = compile(sys.stdin.read(), "snippet", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    asyncio.run(eval(code, {"json": json}))
    return 0
