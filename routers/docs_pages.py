"""Serves /redoc, which loads nothing from another host."""

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_redoc_html
from fastapi.responses import HTMLResponse

LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_LOGO = b"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>"
SCRIPT = "/redoc/redoc.js"
STATIC = "/static-offline-docs"  # where FastAPIOffline serves its files

router = APIRouter(include_in_schema=False)


@router.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    """Return the page."""
    root = request.scope.get("root_path", "")
    return get_redoc_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=f"{request.app.title} - ReDoc",
        redoc_js_url=f"{root}{SCRIPT}",
        redoc_favicon_url=f"{root}{STATIC}/favicon.png",
        with_google_fonts=False,
    )


@router.get(SCRIPT)
def script() -> Response:
    """Return ReDoc's script. An empty image replaces its logo, which is on another host."""
    return Response(_script(), media_type="text/javascript")


@cache
def _script() -> bytes:
    return (files("fastapi_offline") / "static/redoc.standalone.js").read_bytes().replace(LOGO, NO_LOGO)
