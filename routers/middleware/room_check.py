"""Refuses requests while there are more connections than MAX_CONNECTIONS allows."""

from starlette.types import ASGIApp, Receive, Scope, Send

from errors import ServerFull
from routers.error_responses import error_response
from routers.http_server.protocol import CROWDED

BUSY_S = 5  # when to try again


class RoomCheck:
    """Refuses every request but a health check if the protocol has marked it as one connection too many."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["state"].get(CROWDED) and scope["path"] != "/health":
            error = ServerFull("The server is at its limit of connections. Try again shortly.", retry_after=BUSY_S)
            response = error_response(error, scope)
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)
