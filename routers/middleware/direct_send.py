"""Lets streams write past the other middlewares."""

from starlette.types import ASGIApp, Receive, Scope, Send


class DirectSend:
    """The outermost middleware. Keeps the server's `send` in the request's state, for the tokens of a stream.

    Each middleware that wraps `send` would otherwise cost CPU for every token.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope.setdefault("state", {})["server_send"] = send
        await self._app(scope, receive, send)
