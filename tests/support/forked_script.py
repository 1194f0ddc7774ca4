"""Runs a script as `python SCRIPT` does, in a process that the nursery has forked."""

import runpy
import sys
from pathlib import Path


def main() -> int:
    """Run the script that the first argument names, with the other arguments, and return 0."""
    del sys.argv[0]
    sys.path.insert(0, str(Path(sys.argv[0]).parent.absolute()))
    runpy.run_path(sys.argv[0], run_name="__main__")
    return 0
