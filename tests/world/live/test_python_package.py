"""The Python client as a package: `pip install ./clients/python` in an environment of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from document_commands import installing
from process import ROOT, Nursery, forked_app
from service import NOWHERE

pytestmark = pytest.mark.timeout(300)  # it downloads httpx2 and the build system

PROGRAM = """
import sys
from agent_stream import AgentStream, Complete

assert "fastapi" not in sys.modules
with AgentStream(sys.argv[1]) as agent, agent.simulate("Well?", scenario="truncated", delay_ms=0) as run:
    events = list(run)
assert isinstance(events[-1], Complete)
print(run.text)
"""
TYPED = """
from agent_stream import AgentStream, PartialOutput

with AgentStream() as agent, agent.stream("Hi", temperature=0.5) as run:
    for event in run:
        match event:
            case PartialOutput(text):
                reveal_type(text)
    agent.stream("Hi", temprature=0.5)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that has the package and nothing else."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    [install] = installing("clients/python/README.md")
    assert installing("docs/python.md") == [install]
    path = f"{environment}/bin:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", install], cwd=ROOT, env=os.environ | {"PATH": path}, check=True)
    return environment / "bin/python"


@pytest.fixture(scope="module")
def url(nursery: Nursery) -> Iterator[str]:
    with forked_app(nursery, DEDALUS_BASE_URL=NOWHERE) as service:
        yield service.url


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command away from this project, whose modules could take the place of the package's."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_package_is_enough(python: Path, url: str, tmp_path: Path) -> None:
    """A program reads a run with nothing of the service installed."""
    done = run(python, "-c", PROGRAM, url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 °C in Oslo" in done.stdout
    listed = run(python, "-m", "pip", "list", cwd=tmp_path).stdout.lower()
    assert re.search("^agent-stream +1", listed, re.MULTILINE)
    assert "fastapi" not in listed
    assert "pydantic" not in listed


def test_the_package_is_typed(python: Path, tmp_path: Path) -> None:
    """mypy knows the types of the installed package, and finds a misspelt option."""
    (tmp_path / "program.py").write_text(TYPED)
    checked = run(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "program.py", cwd=tmp_path)
    assert 'Revealed type is "str"' in checked.stdout, checked.stdout
    assert 'Unexpected keyword argument "temprature"' in checked.stdout
    assert "Found 1 error" in checked.stdout
