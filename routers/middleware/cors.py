"""CORS: decides which web pages may call the service, and logs each origin that it refuses, once."""

import logging

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from errors import AgentStreamError, MethodNotAllowed, OriginRefused
from routers.error_responses import error_response
from routers.middleware.request_context import request_id_of
from settings import Settings

logger = logging.getLogger(__name__)

EXPOSED = ("X-Run-ID", "X-Request-ID", "Location", "Retry-After", "WWW-Authenticate", "RateLimit", "RateLimit-Policy")
METHODS = ("GET", "POST", "PATCH", "DELETE")
LOCAL_PAGES = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"
MOST_REPORTED = 100  # origins: a client could fill the log with invented ones
LONGEST_ORIGIN = 200  # characters in the log


class Cors(CORSMiddleware):
    """Answers preflights and adds the CORS headers for the origins that the settings allow.

    If the service listens on loopback only and CORS_ORIGINS is not set, it allows local pages on any port, because
    development servers choose any free one.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        super().__init__(
            app,
            allow_origins=settings.cors_origins,
            allow_origin_regex=LOCAL_PAGES if settings.local_pages_allowed() else None,
            allow_credentials=settings.cors_credentials,
            allow_methods=METHODS,
            allow_headers=("*",),
            expose_headers=EXPOSED,
        )
        self._reported: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None:
            await super().__call__(scope, receive, send)
            return
        is_allowed = self.is_allowed_origin(origin)
        if not is_allowed and origin.partition("://")[2] != headers.get("host"):  # the service's own pages need no CORS
            self._report(origin)
        if scope["method"] != "OPTIONS" or "access-control-request-method" not in headers:
            await super().__call__(scope, receive, send)
            return
        granted = self.preflight_response(headers)
        refused = granted.status_code >= 400
        error = MethodNotAllowed() if is_allowed and headers["access-control-request-method"] not in METHODS else None
        response = _refusal(error or OriginRefused(), granted, scope) if refused else granted
        await response(scope, receive, send)

    def _report(self, origin: str) -> None:
        if origin in self._reported or len(self._reported) >= MOST_REPORTED:
            return
        self._reported.add(origin)
        shown = origin[:LONGEST_ORIGIN]
        if origin == "null":
            logger.warning("refused a page without an origin, such as a file: serve the page over http")
            return
        logger.warning(
            "refused a page from %s, which is not an allowed origin. To allow it, set CORS_ORIGINS=%s",
            shown,
            ",".join([*self.allow_origins, shown]),
        )


def _refusal(error: AgentStreamError, preflight: Response, scope: Scope) -> Response:
    """Return the error as a response with the headers of the refused preflight."""
    request_id = request_id_of(scope)
    response = error_response(error, scope)
    own_headers = {"content-length", "content-type"}
    response.headers.update({name: value for name, value in preflight.headers.items() if name not in own_headers})
    response.headers["X-Request-ID"] = request_id
    return response
