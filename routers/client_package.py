"""Makes the npm package of the TypeScript client, so that a front end installs the version of its service."""

import gzip
import io
import tarfile
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "clients/typescript"
MODULE = FOLDER / "dist/index.js"
METADATA = ("LICENSE", "README.md", "package.json")


@cache
def tarball() -> bytes:
    """Return the package as `npm pack` makes it: the same bytes each time for the same files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in [FOLDER / name for name in METADATA] + sorted((FOLDER / "dist").iterdir()):
            body = path.read_bytes()
            about = tarfile.TarInfo(f"package/{path.relative_to(FOLDER).as_posix()}")
            about.size = len(body)
            archive.addfile(about, io.BytesIO(body))
    return gzip.compress(packed.getvalue(), mtime=0)
