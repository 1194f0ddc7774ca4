"""Refuses requests for host names that are not this service's, against DNS rebinding."""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from errors import InvalidHost
from routers.error_responses import error_response


class HostCheck:
    """Refuses a Host header that is not allowed. `*` allows every host.

    A request with two Host headers is refused (RFC 9112, section 3.2): a proxy may have checked the other one.
    """

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and "*" not in self._allowed:
            hosts = [re.sub(r":\d+$", "", host).lower() for host in Headers(scope=scope).getlist("host")]
            if len(hosts) != 1 or hosts[0] not in self._allowed:
                await error_response(InvalidHost(), scope)(scope, receive, send)
                return
        await self._app(scope, receive, send)
