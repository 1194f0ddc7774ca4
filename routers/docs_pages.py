"""Serves /docs (Swagger) and /redoc. They load nothing from another host, and their URLs are relative, for proxies."""

from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse

from routers.guarded_route import GuardedRoute
from routers.page import security_headers

LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_LOGO = b"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>"
SCRIPT = "/redoc/redoc.js"
STATIC = "/static-offline-docs"  # where FastAPIOffline serves its files
STYLES = "'self' 'unsafe-inline'"  # both pages make style elements
SEARCH = "; worker-src blob:"  # ReDoc searches in a worker

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Return Swagger's page. Its policy allows the one inline script, which starts it."""
    page = get_swagger_ui_html(
        openapi_url=f".{request.app.openapi_url}",
        title=f"{request.app.title} - Swagger UI",
        swagger_js_url=f".{STATIC}/swagger-ui-bundle.js",
        swagger_css_url=f".{STATIC}/swagger-ui.css",
        swagger_favicon_url=f".{STATIC}/favicon.png",
    )
    page.headers.update(security_headers(bytes(page.body), style=STYLES))
    return page


@router.get("/redoc")
async def redoc(request: Request) -> HTMLResponse:
    """Return ReDoc's page."""
    page = get_redoc_html(
        openapi_url=f".{request.app.openapi_url}",
        title=f"{request.app.title} - ReDoc",
        redoc_js_url=f".{SCRIPT}",
        redoc_favicon_url=f".{STATIC}/favicon.png",
        with_google_fonts=False,
    )
    page.headers.update(security_headers(bytes(page.body), style=STYLES, more=SEARCH))
    return page


@router.get(SCRIPT)
def script() -> Response:
    """Return ReDoc's script. An empty image replaces its logo, which is on another host."""
    return Response(_script(), media_type="text/javascript")


@cache
def _script() -> bytes:
    return (files("fastapi_offline") / "static/redoc.standalone.js").read_bytes().replace(LOGO, NO_LOGO)
