"""Serves the page at /, the files below /static, and the security headers of all pages."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response

from errors import RouteNotFound
from routers import client_package
from routers.accept import prefers_html
from routers.static_files import StaticFile, files_in
from settings import Settings

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "static"
INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)

router = APIRouter(include_in_schema=False)


class Page:
    """The page and the files that browsers load: all in memory, so that an update on disk can't mix two versions."""

    def __init__(self, *, is_on: bool) -> None:
        self.files = {
            "agent-stream.js": StaticFile(client_package.MODULE.read_bytes(), "text/javascript"),
            "agent-stream.tgz": StaticFile(client_package.tarball(), "application/gzip"),
        }
        self._index: StaticFile | None = None
        if is_on:
            self.files |= files_in(STATIC)
            self._index = self.files.pop("index.html")
            self._headers = {
                **security_headers(self._index.body, style="'self'"),
                "Vary": "Accept, Accept-Encoding",
            }

    def wanted(self, request: Request) -> Response | None:
        """Return the page if it is on and the client prefers HTML to JSON."""
        if self._index is None or not prefers_html(request.headers):
            return None
        return self._index.response(request, self._headers)


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
    if file := page.files.get(path):
        return file.response(request, {"X-Content-Type-Options": "nosniff"})
    raise RouteNotFound
