"""Makes the synchronous client of the asynchronous one: `python clients/python/generate_sync.py`.

The modules of `agent_stream/_async/` are the source, and those of `agent_stream/_sync/` the result.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent / "agent_stream"
REPLACED = (
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsync([A-Z])", r"\1"),
    (r"\b__a(enter|exit|iter)__\b", r"__\1__"),
    (r"\ba(close|closing|iter|next|read)\b", r"\1"),
    (r"\b_async\b", "_sync"),
)
RUFF = (sys.executable, "-m", "ruff")


def synchronous(source: str, file: Path) -> str:
    """Return the synchronous form of a module, formatted as `file`."""
    for pattern, replacement in REPLACED:
        source = re.sub(pattern, replacement, source)
    sorted_imports = ruff(source, file, "check", "--quiet", "--select", "I", "--fix")
    return ruff(sorted_imports, file, "format")


def ruff(source: str, file: Path, *command: str) -> str:
    """Return a module that ruff has changed."""
    whole = [*RUFF, *command, "--stdin-filename", str(file), "-"]
    return subprocess.run(whole, input=source, capture_output=True, text=True, check=True).stdout  # noqa: S603


def generated() -> Iterator[tuple[Path, str]]:
    """Yield the path and the text of each synchronous module."""
    for file in sorted((PACKAGE / "_async").glob("*.py")):
        if file.name != "__init__.py":
            made = PACKAGE / "_sync" / file.name
            yield made, synchronous(file.read_text(), made)


def main() -> None:
    """Write the modules."""
    for file, text in generated():
        file.write_text(text)


if __name__ == "__main__":
    main()
