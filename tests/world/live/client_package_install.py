"""Installs the TypeScript client in a project from the npm package that the service serves."""

import io
import tarfile
from pathlib import Path, PurePosixPath
from shutil import rmtree

from routers.client_package import tarball

PACKAGE = "agent-stream.tgz"


def install_package(folder: Path) -> None:
    """Unpack the package in a folder as npm does, unless this version is installed.

    Other tests install it with npm: of the runtimes, of the Vite app, and of the documents' commands.
    """
    file, package = folder / PACKAGE, tarball()
    installed = folder / "node_modules" / "agent-stream"
    if file.exists() and file.read_bytes() == package and installed.exists():
        return
    rmtree(installed, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            target = installed / PurePosixPath(member.name).relative_to("package")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())
    file.write_bytes(package)
