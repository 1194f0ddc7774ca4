"""Takes run tokens out of the query, so that no access log has them."""

from urllib.parse import parse_qsl, urlencode

from starlette.types import ASGIApp, Receive, Scope, Send

NAME = "token"
READS = {"GET", "HEAD"}


class RunTokenFromQuery:
    """Moves `token` from a request's query to its state, for the gate. Other methods than GET and HEAD lose it.

    Servers write their access log when the response begins, from the same scope.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and NAME.encode() in scope["query_string"]:
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            tokens = [value for name, value in query if name == NAME]
            if tokens:
                rest = [pair for pair in query if pair[0] != NAME]
                scope["query_string"] = urlencode(rest).encode()
                if scope["method"] in READS:
                    scope.setdefault("state", {})["run_token"] = tokens[0]
        await self._app(scope, receive, send)
