"""The chat's modules that need no page, in Node."""

import re
from pathlib import Path

from node import run

TESTS = Path(__file__).with_name("chat.test.mjs")


def test_the_modules_keep_what_they_promise(node: Path) -> None:
    """The tests of blocks of markdown, numbers and attachments pass."""
    shown = run(node, TESTS)
    assert re.search(r"^ℹ fail 0$", shown, re.MULTILINE)
    assert re.search(r"^ℹ skipped 0$", shown, re.MULTILINE)
