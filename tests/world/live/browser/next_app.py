"""Next.js apps, as create-next-app makes them: installed, built and served."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import environments
from client_package_install import PACKAGE, install_package
from environments import EXAMPLES, App, node
from one_at_a_time import one_at_a_time

READY = re.compile(r"Local:\s+(http://\S+)")
NEXT = "node_modules/next/dist/bin/next"
ESLINT = "node_modules/eslint/bin/eslint.js"
BUILD_S = 280


@dataclass(frozen=True)
class BuiltApp:
    """An app with the package `agent-stream` in the version of this repository."""

    app: App
    component: Path | None = None
    """A file of this repository that the app imports as `@/agent-chat`."""

    def build(self) -> None:
        """Install and build it, unless this version of it and of the package is already built."""
        folder = self.app.folder
        with one_at_a_time("next-apps"):
            self.app.install()
            install_package(folder)
            for source, target in self._sources.items():
                _copy(source, target)
            digest, stamp = self._digest(), folder / ".next" / "built-from.txt"
            if stamp.exists() and stamp.read_text() == digest:
                return
            output = self.run(NEXT, "build")
            assert "Compiled successfully" in output, output
            stamp.write_text(digest)

    def run(self, script: str, *arguments: str) -> str:
        """Return the output of a program from the app's packages. Fail with all of it if the program fails."""
        done = subprocess.run(
            [node(), script, *arguments],
            cwd=self.app.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=BUILD_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def served(self, mode: str, **environment: str) -> Iterator[str]:
        """The app's origin, served by `next start`, or in development by `next dev`."""
        with self.serving([node(), NEXT, mode], **environment) as origin:
            yield origin

    @contextmanager
    def serving(self, command: Sequence[str | Path], **environment: str) -> Iterator[str]:
        """The app's origin, served by a command on a free port."""
        server = subprocess.Popen(
            command,
            cwd=self.app.folder,
            env={**_environment(), "PORT": "0", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield _origin(server)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.communicate(timeout=5)
            except subprocess.TimeoutExpired:  # it waits for open connections of the browser
                os.killpg(server.pid, signal.SIGKILL)
                server.communicate(timeout=20)

    @property
    def _sources(self) -> dict[Path, Path]:
        """The files of the app, and where they are copied to."""
        sources = {self.app.sources / file: self.app.folder / file for file in _files(self.app.sources)}
        return sources | ({self.component: self.app.folder / "src/agent-chat.tsx"} if self.component else {})

    def _digest(self) -> str:
        content = hashlib.sha256()
        added = (self.app.folder / name for name in ("package-lock.json", PACKAGE))
        for file in [*self._sources.values(), *added]:
            content.update(str(file).encode() + file.read_bytes())
        return content.hexdigest()


HOOK_APP = BuiltApp(environments.HOOK_APP, EXAMPLES / "react_integration.tsx")
CHAT_APP = BuiltApp(environments.CHAT_APP)


def _origin(server: "subprocess.Popen[str]") -> str:
    assert server.stdout is not None
    lines = []
    for line in server.stdout:
        lines.append(line)
        if found := READY.search(line):
            return found[1]
    raise AssertionError("Next.js did not start:\n" + "".join(lines))


def _copy(source: Path, target: Path) -> None:
    """Copy a file if it differs: Next.js in development rebuilds every file that is written."""
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _files(folder: Path) -> list[Path]:
    skipped = {"node_modules", ".next", "next-env.d.ts"}
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not skipped.intersection(name.parts))


def _environment() -> dict[str, str]:
    path = f"{node().parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "NEXT_TELEMETRY_DISABLED": "1"}
