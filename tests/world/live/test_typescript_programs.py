"""The program of the TypeScript client's README, in Node, word for word but for the URL."""

from pathlib import Path

import pytest
from node import TYPESCRIPT
from process import Nursery
from readme_program import check, programs, through_a_restart

PROGRAMS = TYPESCRIPT / "build/programs"  # below the package, which a program there imports by its name

pytest_plugins = "node_fixtures"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine installs the packages


def test_the_first_program_has_ten_lines() -> None:
    """The program at the top of the README is as short as it says."""
    assert len(programs()[0].splitlines()) == 10


def test_the_first_program_survives_a_restart(node: Path, nursery: Nursery, tmp_path: Path) -> None:
    """The connection breaks in the middle of the answer, the service is killed and started: all is printed once."""
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    check(through_a_restart([node], PROGRAMS, nursery, tmp_path))
