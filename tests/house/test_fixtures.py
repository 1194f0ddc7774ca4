"""Tests that the plugins of the tests don't hide each other's fixtures."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from process import ROOT

TESTS = ROOT / "tests"
LIVE = TESTS / "world" / "live"
SUITES = {
    "test": [file for file in TESTS.rglob("test_*.py") if LIVE not in file.parents],
    "test-world": list(LIVE.rglob("test_*.py")),
}


def plugins(modules: list[Path]) -> set[str]:
    """Return the plugins that these test modules name. A plugin is loaded for all modules, once one names it."""
    sources = (module.read_text() for module in modules)
    return {
        ast.literal_eval(node.value)
        for source in sources
        if "pytest_plugins" in source
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytest_plugins"
    }


def fixtures(source: str) -> Iterator[str]:
    """Return the names of the fixtures that a module defines at its top level."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in map(ast.unparse, node.decorator_list):
                if decorator.startswith("pytest.fixture"):
                    own_name = re.search(r"\bname='(\w+)'", decorator)
                    yield own_name[1] if own_name else node.name


def test_a_fixture_is_found_by_its_name() -> None:
    """Plain and asynchronous fixtures, and those with a name of their own, are found. Other functions are not."""
    source = (
        "@pytest.fixture\ndef a(): ...\n"
        "@pytest.fixture(scope='module')\nasync def b(): ...\n"
        "@pytest.fixture(name='c')\ndef d(): ...\n"
        "@cache\ndef e(): ...\n"
    )
    assert list(fixtures(source)) == ["a", "b", "c"]


@pytest.mark.parametrize("suite", SUITES)
def test_no_two_plugins_of_a_suite_define_a_fixture_of_one_name(suite: str) -> None:
    """Which of them a test gets would depend on the order in which test modules are imported."""
    named = plugins(SUITES[suite])
    assert named
    files = [file for file in TESTS.rglob("*.py") if file.stem in named or file.name == "conftest.py"]
    assert {file.stem for file in files} == named | {"conftest"}
    counts = Counter(name for file in files for name in fixtures(file.read_text()))
    assert [name for name, count in counts.items() if count > 1] == []
