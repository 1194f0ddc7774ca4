"""The TypeScript client in Node, Deno and Bun: installed from the service, and running its README's program."""

from pathlib import Path

import pytest
from environments import command, install_python
from node import executable, shell
from process import Nursery, forked_app
from readme_program import README, URL, check, through_a_restart
from service import NOWHERE

from routers.client_package import MODULE

pytestmark = pytest.mark.timeout(300)  # the first run on a machine installs the runtimes

INSTALL = f"npm install {URL}/static/agent-stream.tgz"


@pytest.fixture(scope="module")
def runtimes() -> None:
    """Deno and Bun, which PyPI has."""
    install_python("runtimes")


@pytest.fixture(scope="module")
def project(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the package, installed from the service by the README's command."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text('{"type": "module"}')
    assert INSTALL in README.read_text().splitlines()
    with forked_app(nursery, DEDALUS_BASE_URL=NOWHERE) as app:
        shell(INSTALL.replace(URL, app.url), project=folder)
    return folder


def commands() -> dict[str, list[str | Path]]:
    return {
        "node": [executable()],
        "deno": [command("runtimes", "deno"), "run", "--allow-net"],
        "bun": [command("runtimes", "bun")],
    }


@pytest.mark.usefixtures("runtimes")
@pytest.mark.parametrize("runtime", ["node", "deno", "bun"])
def test_the_program_survives_a_restart(runtime: str, project: Path, nursery: Nursery, tmp_path: Path) -> None:
    """In each runtime, the program prints everything once although the service is killed in the middle."""
    check(through_a_restart(commands()[runtime], project, nursery, tmp_path))


def test_the_installed_package_is_the_service_s(project: Path) -> None:
    """npm has installed this version of the package, and nothing else."""
    installed = [file.name for file in (project / "node_modules").iterdir() if not file.name.startswith(".")]
    assert installed == ["agent-stream"]
    assert (project / "node_modules/agent-stream/dist/index.js").read_bytes() == MODULE.read_bytes()
