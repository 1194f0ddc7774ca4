"""Around every request, as pure ASGI: its id, the Host check, the limits of its body, and the last catch."""

import logging
import re
import uuid
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errors import BodyTooLarge, InternalError, InvalidHost, InvalidRequest
from routers.error_answers import answer

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[\w.-]{1,64}")
STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


class RequestContext:
    """Gives each request an id (a caller's X-Request-ID if it is a plain word), and answers what nobody caught.

    Leaves the server's own `send` in the request's state, for bodies that no layer has anything to add to.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        request_id = asked if REQUEST_ID.fullmatch(asked) else f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {}).update(request_id=request_id, server_send=send)
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            logger.exception("request %s failed", request_id)
            if started:
                raise
            await answer(InternalError(), request_id)(scope, receive, send_with_id)


class HostCheck:
    """Refuses a Host that isn't served here, against DNS rebinding. `*` allows every one."""

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app = app
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and "*" not in self._allowed:
            host = re.sub(r":\d+$", "", Headers(scope=scope).get("host", "")).lower()
            if host not in self._allowed:
                await answer(InvalidHost(), scope["state"]["request_id"])(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimits:
    """Reads a request's body whole, and refuses one that is too large (bytes) or nested too deep."""

    def __init__(self, app: ASGIApp, max_bytes: int, max_depth: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_depth = max_depth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        refused = BodyTooLarge if int(Headers(scope=scope).get("content-length", 0)) > self._max_bytes else None
        messages: list[Message] = []
        size = 0
        while refused is None and (not messages or messages[-1].get("more_body")):
            messages.append(await receive())
            size += len(messages[-1].get("body", b""))
            refused = BodyTooLarge if size > self._max_bytes else None
        if refused is None and too_deep(b"".join(m.get("body", b"") for m in messages), self._max_depth):
            error: InvalidRequest | BodyTooLarge = InvalidRequest("The JSON is nested deeper than MAX_JSON_DEPTH.")
        elif refused is not None:
            error = refused()
        else:
            replay = iter(messages)

            async def receive_again() -> Message:
                return next(replay, None) or await receive()

            await self._app(scope, receive_again, send)
            return
        await answer(error, scope["state"]["request_id"])(scope, receive, send)


def too_deep(body: bytes, max_depth: int) -> bool:
    """Whether brackets outside of strings nest deeper than that."""
    if body.count(b"{") + body.count(b"[") <= max_depth:
        return False
    depth = 0
    for bracket in re.findall(rb"[\[{\]}]", STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > max_depth:
            return True
    return False
