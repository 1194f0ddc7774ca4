"""The commands with which the TypeScript client's README changes the package, in a copy of it."""

from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from document_commands import SERVICE, installing
from fake_dedalus import FakeDedalus
from node import INSTALL_S, TYPESCRIPT, shell
from process import ROOT, Nursery, forked_app
from wire import answer

pytestmark = pytest.mark.timeout(400)  # it installs the packages


def test_the_commands_change_nothing_that_is_up_to_date(nursery: Nursery, tmp_path: Path) -> None:
    """The commands install, build, generate and test, and their results are the committed files."""
    copy = tmp_path / "clients/typescript"
    copytree(TYPESCRIPT, copy, ignore=ignore_patterns("node_modules", "build"))
    (tmp_path / "examples").mkdir()
    example = "examples/react_integration.tsx"
    (tmp_path / example).write_bytes((ROOT / example).read_bytes())
    install, *changing = [
        command for command in installing("clients/typescript/README.md") if not command.startswith("npm install ")
    ]
    assert install == "npm ci"
    with FakeDedalus.in_thread() as fake, forked_app(nursery, DEDALUS_BASE_URL=fake.url) as app:
        fake.always(*answer("Hello world"))
        for command in (install, *changing):
            shell(command.replace(SERVICE, app.url), project=copy, timeout_s=INSTALL_S)
    for folder in ("dist", "src"):
        for file in (TYPESCRIPT / folder).iterdir():
            assert (copy / folder / file.name).read_text() == file.read_text(), file
