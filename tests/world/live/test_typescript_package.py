"""The committed build of the TypeScript client, and the npm package that the service makes of it."""

import io
import tarfile
from pathlib import Path

import pytest
from node import TYPESCRIPT, npm, npm_script

from routers.client_package import tarball

pytest_plugins = "node_fixtures"
pytestmark = pytest.mark.timeout(300)  # the first run on a machine installs the packages


def test_the_build_is_up_to_date(node: Path, tmp_path: Path) -> None:
    """`dist/` is what `npm run build` makes of the sources."""
    npm_script("build", "--out-dir", str(tmp_path))
    built = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert built == {file.name: file.read_text() for file in (TYPESCRIPT / "dist").iterdir()}


def test_the_package_is_the_one_that_npm_makes(node: Path, tmp_path: Path) -> None:
    """The service's package has the files of `npm pack`, with the same content."""
    npm("pack", "--pack-destination", str(tmp_path))
    [packed] = tmp_path.iterdir()
    assert contents(tarball()) == contents(packed.read_bytes())


def contents(package: bytes) -> dict[str, bytes]:
    """The files of a package."""
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
