"""The HTTP client of one MCP session: patient with streams, and bounded where the SDK reads an answer whole."""

import asyncio
from collections.abc import Mapping
from typing import Any

from errors import McpServerFailed
from services.guarded_http import GuardedClient
from services.url_guard import UrlGuard

MAX_ANSWER_BYTES = 16 * 1024 * 1024
CONNECT_S, WRITE_S = 10.0, 30.0
NOTICE_S = 5.0  # for what has no result, and for which the SDK waits without a limit
KEPT = ("content-type", "location", "mcp-session-id")


class McpHttp(GuardedClient):
    """A client for one server; `guard=None` where the operator named it. It keeps the server's cookies.

    It waits as long as a stream is silent: calls have their own time.
    """

    def __init__(self, guard: UrlGuard | None, headers: Mapping[str, str]) -> None:
        super().__init__(guard, headers={**headers, "Accept-Encoding": "identity"}, keep_cookies=True)
        self.timeout = (CONNECT_S, None, WRITE_S, None)  # connect, read, write, wait for a connection

    async def send(self, request: Any, **options: Any) -> Any:
        """Send it. Raise `McpServerFailed` where an answer that is no stream of events is too large."""
        async with asyncio.timeout(NOTICE_S if _is_notice(request) else None):
            response = await super().send(request, **options)
        kind = response.headers.get("content-type", "").lower()
        if not options.get("stream") or kind.startswith("text/event-stream"):
            return response
        body = bytearray()
        try:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise McpServerFailed
        finally:
            await response.aclose()
        kept = [(name, value) for name, value in response.headers.multi_items() if name in KEPT]
        whole = type(response)(response.status_code, headers=kept, content=bytes(body), request=request)
        if "mcp-session-id" in request.headers and _forgot(response.status_code, body):
            whole = type(response)(404, request=request)
        whole.next_request = response.next_request
        return whole


def _is_notice(request: Any) -> bool:
    """Whether a request is the end of a session, or a message that asks nothing."""
    return request.method == "DELETE" or (request.method == "POST" and b'"id":' not in request.content)


def _forgot(status: int, body: bytes | bytearray) -> bool:
    """Whether a server says that it doesn't know the session: with 404, as it should, or with 400, as many do.

    The SDK takes the first for that only where it has no body.
    """
    return status == 404 or (status == 400 and b"session" in body.lower())
