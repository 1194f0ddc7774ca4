"""The package and the example in a Next.js app, as create-next-app makes it: installed, built and served."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client_package_install import PACKAGE, install_package
from environments import NEXT_APP, NEXT_SOURCES, install_next_app, node
from one_at_a_time import one_at_a_time

# The example, and where the app imports it from: `@/agent-chat`.
EXAMPLE = Path(__file__).parents[4] / "examples" / "react_integration.tsx"
EXAMPLE_IN_APP = Path("src/agent-chat.tsx")
READY = re.compile(r"Local:\s+(http://\S+)")
NEXT = "node_modules/next/dist/bin/next"
ESLINT = "node_modules/eslint/bin/eslint.js"
START_S = 60
BUILD_S = 280


def build() -> None:
    """Install and build the app, unless this version of it, of the package and of the example is already built."""
    with one_at_a_time("next-app"):
        install_next_app()
        install_package(NEXT_APP)
        _copy_sources()
        digest, stamp = _digest(), NEXT_APP / ".next" / "built-from.txt"
        if stamp.exists() and stamp.read_text() == digest:
            return
        output = run(NEXT, "build")
        assert "Compiled successfully" in output, output
        stamp.write_text(digest)


def run(script: str, *arguments: str) -> str:
    """Return the output of a program from the app's packages. Fail with all of it if the program fails."""
    done = subprocess.run(
        [node(), script, *arguments], cwd=NEXT_APP, env=_environment(), capture_output=True, text=True, timeout=BUILD_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def served(mode: str) -> Iterator[str]:
    """The app's origin, served by `next start`, or in development by `next dev`."""
    server = subprocess.Popen(
        [node(), NEXT, mode, "--port", "0"],
        cwd=NEXT_APP,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield _origin(server)
    finally:
        os.killpg(server.pid, 15)
        server.communicate(timeout=20)


def _origin(server: "subprocess.Popen[str]") -> str:
    assert server.stdout is not None
    lines = []
    for line in server.stdout:
        lines.append(line)
        if found := READY.search(line):
            return found[1]
    raise AssertionError("Next.js did not start:\n" + "".join(lines))


def _copy_sources() -> None:
    for file in _files(NEXT_SOURCES):
        _copy(NEXT_SOURCES / file, NEXT_APP / file)
    _copy(EXAMPLE, NEXT_APP / EXAMPLE_IN_APP)


def _copy(source: Path, target: Path) -> None:
    """Copy a file if it differs: Next.js in development rebuilds every file that is written."""
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _digest() -> str:
    content = hashlib.sha256()
    for file in [*_files(NEXT_SOURCES), EXAMPLE_IN_APP, Path(PACKAGE)]:
        content.update(str(file).encode() + (NEXT_APP / file).read_bytes())
    return content.hexdigest()


def _files(folder: Path) -> list[Path]:
    skipped = {"node_modules", ".next", "next-env.d.ts"}
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not skipped.intersection(name.parts))


def _environment() -> dict[str, str]:
    path = f"{node().parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "NEXT_TELEMETRY_DISABLED": "1"}
