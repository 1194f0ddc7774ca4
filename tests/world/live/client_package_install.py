"""Installs the TypeScript client in a project from the npm package that the service serves."""

from pathlib import Path

from environments import npm

from routers.client_package import tarball

PACKAGE = "agent-stream.tgz"


def install_package(folder: Path) -> None:
    """Install the package in a folder, unless this version is installed."""
    file, package = folder / PACKAGE, tarball()
    if file.exists() and file.read_bytes() == package and (folder / "node_modules" / "agent-stream").exists():
        return
    file.write_bytes(package)
    npm(folder, "install", "--no-save", "--offline", PACKAGE)
