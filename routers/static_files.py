"""Files that are served from memory: read once, compressed at their first request, and revalidated by their ETag."""

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path

from fastapi import Request, Response

MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
"""The kinds of files that are served, by their suffix. Text is in UTF-8."""


@dataclass(frozen=True)
class StaticFile:
    """A file with its headers. By default `no-cache` makes browsers ask each time whether it has changed."""

    body: bytes
    media_type: str

    @cached_property
    def etag(self) -> str:
        """A weak ETag, because it is the same for the compressed body."""
        return f'W/"{sha256(self.body).hexdigest()[:32]}"'

    @cached_property
    def gzipped(self) -> bytes:
        """The compressed body."""
        return gzip.compress(self.body, mtime=0)

    def response(self, request: Request, headers: Mapping[str, str] = {}) -> Response:
        """Return the file as the response to a GET or HEAD, or 304 if the client has it."""
        common = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding", "ETag": self.etag, **headers}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=common)
        is_compressible = self.media_type != "application/gzip"
        if is_compressible and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.gzipped, headers={**common, "Content-Encoding": "gzip"}, media_type=self.media_type)
        return Response(self.body, headers=common, media_type=self.media_type)


@cache
def files_in(folder: Path) -> Mapping[str, StaticFile]:
    """Return the files below a folder whose kind is served, by their path in it. They are read once in a process."""
    return dict(_read(folder))


def _read(folder: Path) -> Iterator[tuple[str, StaticFile]]:
    for path in sorted(folder.rglob("*")):
        if media_type := MEDIA_TYPES.get(path.suffix):
            yield path.relative_to(folder).as_posix(), StaticFile(path.read_bytes(), media_type)
