"""The HTTP client of one MCP session: patient with streams, and bounded where the SDK reads an answer whole."""

from collections.abc import Mapping
from typing import Any

from errors import McpServerFailed
from services.guarded_http import GuardedClient
from services.url_guard import UrlGuard

MAX_ANSWER_BYTES = 16 * 1024 * 1024
CONNECT_S, WRITE_S = 10.0, 30.0


class McpHttp(GuardedClient):
    """A client for one server; `guard=None` where the operator named it. It keeps the server's cookies.

    It waits as long as a stream is silent: calls have their own time.
    """

    def __init__(self, guard: UrlGuard | None, headers: Mapping[str, str]) -> None:
        super().__init__(guard, headers={**headers, "Accept-Encoding": "identity"}, keep_cookies=True)
        self.timeout = (CONNECT_S, None, WRITE_S, WRITE_S)

    async def send(self, request: Any, **options: Any) -> Any:
        """Send it. Raise `McpServerFailed` where an answer that is no stream of events is too large."""
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
        whole = type(response)(
            response.status_code,
            headers=[(name, value) for name, value in response.headers.multi_items() if name in KEPT],
            content=bytes(body),
            request=request,
        )
        whole.next_request = response.next_request
        return whole


KEPT = ("content-type", "location", "mcp-session-id")
