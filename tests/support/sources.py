"""Reads Python sources for tests of their rules."""

import ast
from pathlib import Path


def imported(file: Path) -> set[str]:
    """Return the top-level packages that a file imports, also within its functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names=names):
                found |= {name.name.partition(".")[0] for name in names}
            case ast.ImportFrom(module=module):
                found.add((module or "").partition(".")[0])
    return found
