"""Serves the page at /, the files below /static, and the security headers of all pages."""

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response

from errors import RouteNotFound
from routers import client_package
from routers.accept import prefers_html
from routers.guarded_route import GuardedRoute
from routers.static_files import StaticFile, files_in
from settings import Settings

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "static"
VERSION = re.compile("^v-[0-9a-f]{16}/")
"""A folder below /static that has all files of one version of them."""
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)


class Page:
    """The page and the files that browsers load: all in memory, so that an update on disk can't mix two versions.

    The page names its files below a folder for this version of them, so that browsers can keep them: they would
    otherwise ask at each visit for each of 130 files whether it has changed.
    """

    def __init__(self, *, is_on: bool) -> None:
        self._files = {
            "agent-stream.js": StaticFile(client_package.MODULE.read_bytes(), "text/javascript"),
            "agent-stream.tgz": StaticFile(client_package.tarball(), "application/gzip"),
            **(files_in(STATIC) if is_on else {}),
        }
        index = self._files.pop("index.html", None)
        self._folder = version_folder(self._files)
        self._index = index and replace(
            index, body=index.body.replace(b"./static/", f"./static/{self._folder}".encode())
        )
        self._headers = security_headers(self._index.body, style="'self'") if self._index else {}

    def wanted(self, request: Request) -> Response | None:
        """Return the page if it is on and the client prefers HTML to JSON."""
        if self._index is None or not prefers_html(request.headers):
            return None
        return self._index.response(request, {**self._headers, "Vary": "Accept, Accept-Encoding"})

    def file(self, request: Request, path: str) -> Response | None:
        """Return a file, or None if there is none.

        A page of another version gets the files of this one, which browsers don't keep. During an update, one process
        may have served the page, and another serves its files.
        """
        file = self._files.get(VERSION.sub("", path))
        if file is None:
            return None
        caching = FOREVER if path.startswith(self._folder) else {}
        return file.response(request, {"X-Content-Type-Options": "nosniff", **caching})


def version_folder(files: Mapping[str, StaticFile]) -> str:
    """Return the folder of this version of the files: its name depends on each path and each content."""
    listed = "\n".join(f"{path} {file.etag}" for path, file in sorted(files.items()))
    return f"v-{sha256(listed.encode()).hexdigest()[:16]}/"


def install(app: FastAPI, settings: Settings) -> None:
    """Read the files, and add their route."""
    app.state.page = Page(is_on=settings.page == "on")
    app.include_router(router)


def security_headers(html: bytes, *, style: str, more: str = "") -> dict[str, str]:
    """Return the headers of a page that loads from this service only, and runs no inline script but its own.

    `html` has the inline scripts, which are allowed by their hashes (CSP level 3, section 2.3.1). `style` is the value
    of style-src, and `more` are further directives.
    """
    hashes = [b64encode(sha256(script).digest()).decode() for script in INLINE_SCRIPT.findall(html)]
    scripts = " ".join(["'self'", *(f"'sha256-{digest}'" for digest in hashes)])
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {style}; "
        "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors 'none'{more}"
    )
    return {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"])
async def static(request: Request, path: str) -> Response:
    """Return a file."""
    page: Page = request.app.state.page
    if file := page.file(request, path):
        return file
    raise RouteNotFound
