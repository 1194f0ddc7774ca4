"""The page's modules that need no page, in Node."""

import re
from pathlib import Path

import pytest
from node import run

pytest_plugins = "node_fixtures"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine installs the packages


@pytest.mark.parametrize("folder", ["chat", "inspector", "sidebar"])
def test_the_modules_keep_what_they_promise(node: Path, folder: str) -> None:
    """The tests of one folder's modules pass: blocks of markdown and attachments, run files and proofs, or days."""
    here = Path(__file__).parent
    shown = run(node, "--import", (here / "import_map.mjs").as_uri(), here / f"{folder}.test.mjs")
    assert re.search(r"^ℹ fail 0$", shown, re.MULTILINE)
    assert re.search(r"^ℹ skipped 0$", shown, re.MULTILINE)
